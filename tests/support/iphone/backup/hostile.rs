//! What no phone would ask of a host, and what comes without end.

use super::agent::Shared;
use super::around::End;
use super::faults::{Answer, Ask, Faults, Flood};
use super::link::{Link, Upload};

/// Asks everything that the test wants asked, and notes what the host says.
///
/// # Errors
/// The connection's.
pub fn ask_all(link: &mut Link, shared: &Shared, faults: &Faults) -> Result<(), End> {
    for ask in &faults.asks {
        let answer = put(link, ask)?;
        shared.note(|seen| seen.answers.push((ask.clone(), answer)));
    }
    Ok(())
}

fn put(link: &mut Link, ask: &Ask) -> Result<Answer, End> {
    let status = match ask {
        Ask::Upload(host) => {
            let (device, host, content) = ("/.ba/evil".to_owned(), host.clone(), "written by a phone\n".into());
            link.upload(19, &[Upload { device, host, content, key: None, wrong: None }])?.0
        }
        Ask::Download(path) => {
            let sent = link.fetch(path)?;
            return Ok(Answer { code: if sent.is_some() { 0 } else { -13 }, sent });
        }
        Ask::Contents(path) => {
            let (status, listing) = link.contents(path)?;
            let names: Vec<String> = listing.into_keys().collect();
            return Ok(Answer { code: status.code, sent: Some(names.join("\n").into_bytes()) });
        }
        Ask::Move(from, to) => link.move_items([(from.clone(), to.clone())])?,
        Ask::Copy(from, to) => link.copy_item(from, to)?,
        Ask::Remove(path) => link.remove_items([path.clone()])?,
        Ask::CreateDirectory(path) => link.create_directory(path)?,
    };
    Ok(Answer { code: status.code, sent: None })
}

/// Says the same thing again and again, with a new name each time.
///
/// # Errors
/// The connection's.
pub fn flood(link: &mut Link, flood: Flood, udid: &str) -> Result<(), End> {
    let name = |number: u64| {
        let id = format!("{number:040x}");
        // The first digits change the most often, as those of a hash.
        let id: String = id.chars().rev().collect();
        format!("{udid}/Snapshot/{}/{id}", &id[..2])
    };
    match flood {
        Flood::Uploads(count) => {
            link.upload_empty((0..count).map(name))?;
        }
        Flood::Directories(count) => {
            for number in 0..count {
                link.create_directory(&name(number))?;
            }
        }
        Flood::Removals(count) => {
            for first in (0..count).step_by(1000) {
                let names: Vec<String> = (first..count.min(first + 1000)).map(name).collect();
                link.remove_items(names)?;
            }
        }
    }
    Ok(())
}
