//! A backup from the first question to the tree.
//!
//! The device is served the folder of the point before; what it sends is staged, and given to the store by another thread while more is coming. Nothing of the point
//! before is changed, so a session that breaks off costs only what it sent.

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Error, Result, anyhow};
use plist::{Dictionary, Value};

use super::afc::Afc;
use super::complete::{self, Checked};
use super::overlay::{Overlay, Stowed};
use super::phone::{Escrow, Found, Phone};
use super::place::Place;
use super::progress::Progress;
use super::refusal::{self, Circumstances};
use super::refused::Refused;
use super::serve::{Plea, Serve};
use super::session::{self, SyncLock};
use super::staging::{self, Staged, Staging};
use super::tree::Backup;
use super::{Ios, info};
use crate::error::chain;
use crate::monitor::{Monitor, Task, Unit};
use crate::output::printable;
use crate::quantity::show_bytes;
use crate::source::{Away, Deposit, Item, OpenOptions, Opener, Problem, Severity, Stored, Tree};
use crate::store::SavedTree;

/// How many files may wait to be taken into the store: then the device waits.
const WAITING: usize = 1024;

/// Makes a backup of the device of this source.
///
/// # Errors
///
/// When the device does not finish it. One that is not here, or whose owner does not let us begin, is [`Away`].
pub(super) fn open(ios: &Ios, item: &Item, options: &OpenOptions<'_>, monitor: &dyn Monitor) -> Result<Box<dyn Tree>> {
    let mut phone = match ios.find()? {
        Found::Here(phone) => phone,
        Found::Away(why) => return Err(Error::new(Away(why))),
    };
    let name = printable(phone.name().as_ref());
    let directory = staging::place(&ios.config, &item.id)?;
    let password = ios.password();
    let password = password.as_deref().map_err(String::as_str);
    let (mut folder, full) = base(ios, options, &directory, password)?;
    if options.dry_run {
        let kind =
            full.map_or_else(|| "the rest is as in the newest point".to_owned(), |why| format!("all of it: {why}"));
        monitor.say(&format!("{name} would be asked for a backup; {kind}"));
        return Ok(Box::new(Backup::new(folder, Vec::new())));
    }
    folder.call(phone.udid());
    if let Some(why) = &full {
        monitor.say(&format!("{}: full backup: {why}", item.id));
    }
    let session =
        Session { phone: &mut phone, folder: &mut folder, is_full: full.is_some(), name: &name, item, monitor };
    let circumstances = match options.deposit {
        Some(deposit) => {
            let rest = || monitor.start(&item.id, "store what has come", Unit::None);
            deposited(deposit, rest, |arrived| ios.runtime()?.block_on(session.run(arrived)))?
        }
        None => ios.runtime()?.block_on(session.run(&mut |_| Ok(())))?,
    };
    let problems = conclude(&folder, circumstances, password)?;
    folder.forget_point();
    Ok(Box::new(Backup::new(folder, problems)))
}

/// The folder that the device is served; with it, why it must send everything, if so.
fn base(
    ios: &Ios,
    options: &OpenOptions<'_>,
    directory: &Path,
    password: complete::Password<'_>,
) -> Result<(Overlay, Option<String>)> {
    let udid = &ios.config.udid;
    let begin = || if options.dry_run { Ok(Staging::pretend(directory)) } else { Staging::begin(directory) };
    let why = match options.previous {
        _ if options.full => "it was asked for".to_owned(),
        None => "there is no point yet".to_owned(),
        Some(point) => match usable(udid, begin()?, point, password) {
            Ok(folder) => return Ok((folder, None)),
            Err(error) => format!("the point {} cannot be gone on with: {}", point.point().short_id(), chain(&error)),
        },
    };
    Ok((Overlay::empty(udid, begin()?), Some(why)))
}

/// The folder of a point, if a device can go on with it.
fn usable(udid: &str, staging: Staging, point: &SavedTree, password: complete::Password<'_>) -> Result<Overlay> {
    if !point.point().complete {
        return Err(anyhow!("it is incomplete"));
    }
    let folder = Overlay::of_point(udid, staging, point)?;
    complete::finished(&folder)?;
    match complete::check(&folder, password)? {
        Checked::Whole | Checked::Unseen(_) => Ok(folder),
        Checked::Lacking(problems) => {
            let first =
                problems.first().map(|problem| format!("{}: {}", printable(problem.path.as_os_str()), problem.error));
            Err(anyhow!("it is not whole: {}", first.unwrap_or_default()))
        }
    }
}

/// What is missing in a backup that the device says is done.
fn conclude(folder: &Overlay, circumstances: Circumstances, password: complete::Password<'_>) -> Result<Vec<Problem>> {
    complete::finished(folder).context("the device says that the backup is done, and did not finish it")?;
    let checked = complete::check(folder, password).context("look whether the backup is whole")?;
    let unread = circumstances.unread.into_iter().map(|(path, why)| (Path::new("/").join(path), why));
    let as_problem = |severity| {
        move |(path, why): (std::path::PathBuf, String)| Problem {
            path,
            error: format!("the device could not read it: {}", why.trim()),
            severity,
        }
    };
    Ok(match checked {
        // The manifest does not name them, so that nothing is missing.
        Checked::Whole => unread.map(as_problem(Severity::Warning)).collect(),
        Checked::Lacking(mut problems) => {
            problems.extend(unread.map(as_problem(Severity::Warning)));
            problems
        }
        Checked::Unseen(why) => {
            let error = format!("whether all files are there could not be looked at: {why}");
            let unseen = Problem { path: "/Manifest.db".into(), error, severity: Severity::Warning };
            unread.map(as_problem(Severity::Unread)).chain([unseen]).collect()
        }
    })
}

/// Does `work` while another thread gives what has arrived to the store; `rest` begins to tell of what the store then has still to take.
fn deposited<T>(
    deposit: &dyn Deposit,
    rest: impl FnOnce() -> Arc<dyn Task>,
    work: impl FnOnce(&mut dyn FnMut(&Arc<Staged>) -> Result<()>) -> Result<T>,
) -> Result<T> {
    let (sender, receiver): (SyncSender<Arc<Staged>>, Receiver<_>) = sync_channel(WAITING);
    let waiting: Mutex<HashMap<usize, Arc<Staged>>> = Mutex::default();
    let lock = || waiting.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        let (waiting, lock) = (&waiting, &lock);
        let taking = thread::Builder::new().name("deposit".to_owned()).spawn_scoped(scope, move || {
            let mut contents = receiver.into_iter().enumerate().map(|(number, staged)| {
                waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::clone(&staged));
                Opener::new(move || Ok(Box::new(staged.open()?)))
            });
            deposit.take(&mut contents, &|number, Stored { blobs, size }| {
                if let Some(staged) = lock().remove(&number) {
                    staged.is_stored(blobs, size);
                }
            })
        });
        let taking = taking.context("start a thread")?;
        let result =
            work(&mut |staged| sender.send(Arc::clone(staged)).map_err(|_| anyhow!("the store takes nothing more")));
        drop(sender);
        let rest = rest();
        let taken = taking.join().map_err(|_| anyhow!("a thread broke off: this is a fault in the program"));
        rest.finish();
        let taken = taken?;
        // Why the store failed matters more than that the session then had to end.
        taken.and(result)
    })
}

/// One session.
struct Session<'s> {
    phone: &'s mut Phone,
    folder: &'s mut Overlay,
    is_full: bool,
    /// What the owner calls the device, printable.
    name: &'s str,
    item: &'s Item,
    monitor: &'s dyn Monitor,
}

impl Session<'_> {
    async fn run(self, arrived: &mut dyn FnMut(&Arc<Staged>) -> Result<()>) -> Result<Circumstances> {
        let Self { phone, folder, is_full, name, item, monitor } = self;
        // Before it has sent anything, one that goes away is away.
        let early = |error| refusal::broken(error, Circumstances::default(), name, false);
        let may_prompt = session::may_prompt(phone).await;
        let mut notices = session::listen(phone).await;
        let mut afc = Afc::new(phone.service("com.apple.afc", Escrow::Without).await.map_err(early)?);
        let info = info::gather(phone, &mut afc).await.context("ask the device about itself").map_err(early)?;
        let lock = SyncLock::take(afc, &mut notices).await.map_err(early)?;
        let result = async {
            let mut wire = session::service(phone).await.map_err(|error| early(away_if_locked(error, name)))?;
            let info = folder.staging().keep(&info).context("write Info.plist to the staging directory")?;
            let place = Place::Named("Info.plist".into());
            folder
                .put(&place, Stowed::new(info))
                .map_err(|refused| anyhow!(refused.text))
                .context("keep Info.plist")?;
            wire.request("Backup", request(phone.udid(), is_full)).await.map_err(early)?;
            let say = |plea| match plea {
                Plea::Passcode => monitor.say(&format!("Enter the passcode on {name}.")),
                Plea::Look => monitor.say(&format!("{name} is silent: if it asks for its passcode, enter it.")),
            };
            let progress = Progress::new(monitor, &item.id, "receive");
            let (notices, circumstances) = (&mut notices, Circumstances::default());
            let mut serve =
                Serve { wire: &mut wire, folder, notices, progress, arrived, say: &say, may_prompt, circumstances };
            let ended = serve.run().await;
            let received = serve.progress.done();
            let circumstances = serve.circumstances;
            match ended {
                Ok(ended) => {
                    wire.goodbye().await;
                    tracing::debug!("the device sent {}", show_bytes(received));
                    refusal::judge(&ended, circumstances, name)
                }
                Err(error) => Err(refusal::broken(error, circumstances, name, received > 0)),
            }
        };
        let result = result.await;
        lock.release(&mut notices).await;
        result
    }
}

/// A device that was locked since it was found is not to blame.
fn away_if_locked(error: Error, name: &str) -> Error {
    if Refused::is_locked(&error) { Error::new(Away(format!("{name} is locked: unlock it"))) } else { error }
}

/// What is asked of the device.
fn request(udid: &str, is_full: bool) -> Dictionary {
    let mut request = Dictionary::from_iter([("TargetIdentifier", udid), ("SourceIdentifier", udid)]);
    if is_full {
        let options = Dictionary::from_iter([("ForceFullBackup", Value::from(true))]);
        request.insert("Options".to_owned(), Value::Dictionary(options));
    }
    request
}
