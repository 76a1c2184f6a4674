//! Gives a device its backup back.
//!
//! As in a backup it is the device that asks: here for the manifests, and then for every content. All comes out of the store, and nothing is written there; what the
//! device wants to copy, write or remove in the folder happens in memory and is forgotten. Requests and options are those of libimobiledevice's `idevicebackup2`
//! 1.3.0 (`tools/idevicebackup2.c`, `CMD_RESTORE`).

use std::path::PathBuf;

use anyhow::{Context, Error, Result, anyhow};
use plist::{Dictionary, Value};

use super::afc::Afc;
use super::complete::{self, MOST_PLIST};
use super::keybag::{Keys, is_encrypted};
use super::overlay::Overlay;
use super::phone::{Escrow, Found, Phone};
use super::progress::Progress;
use super::refusal::{self, Circumstances};
use super::serve::{Plea, Serve};
use super::session::{self, SyncLock};
use super::staging::{self, Staging};
use super::{Ios, bounds, names};
use crate::error::{Annotate, ExitCode, hinted};
use crate::extract::{DeviceOptions, Extracted, RestoreOptions};
use crate::monitor::Monitor;
use crate::output::printable;
use crate::secret::Revealed;
use crate::source::{Item, Problem, Severity};
use crate::store::SavedTree;

/// How many files that were not sent are named.
const KEPT: usize = 1000;

/// A point that can be given back.
struct Point {
    folder: Overlay,
    password: Option<Revealed>,
    applications: Option<Value>,
}

/// Makes sure that [`restore`] can do its work, as far as that shows without asking the device for it.
///
/// # Errors
///
/// When it cannot; exit code [`ExitCode::Usage`] when it is asked for what devices do not do.
pub(super) fn examine(ios: &Ios, item: &Item, saved: &SavedTree, options: &RestoreOptions) -> Result<()> {
    options.without_containers(&item.id)?;
    if let Some(path) = &options.path {
        return Err(anyhow!("a device takes back a whole backup, and not only {}", printable(path.as_os_str())))
            .hint("Bring a part of it to a directory: --to DIR.")
            .exit(ExitCode::Usage);
    }
    if options.verify {
        return Err(anyhow!("what a device has taken back cannot be read back"))
            .hint("Leave out --verify: the device itself compares what it gets with the manifest.")
            .exit(ExitCode::Usage);
    }
    point(ios, item, saved, options, true)?;
    Ok(())
}

/// What a restore does, in words: to which device, and what with it.
///
/// # Errors
///
/// When it is not here.
pub(super) fn caution(ios: &Ios, options: &DeviceOptions) -> Result<String> {
    let phone = here(ios)?;
    let name = printable(phone.name().as_ref());
    let others = if options.remove_others {
        "what is not in the point is removed from it"
    } else {
        "what is not in the point stays"
    };
    let end = if options.no_reboot { "" } else { " It restarts at the end." };
    Ok(format!("It goes to {name} ({}); {others}.{end}", phone.udid()))
}

fn here(ios: &Ios) -> Result<Box<Phone>> {
    match ios.find()? {
        Found::Here(phone) => Ok(phone),
        Found::Away(why) => Err(hinted(anyhow!("{} is away: {why}", ios.id), "Connect it and unlock it.")),
    }
}

/// The point as the device will see it, whose password was tried.
fn point(ios: &Ios, item: &Item, saved: &SavedTree, options: &RestoreOptions, pretend: bool) -> Result<Point> {
    let directory = staging::place(&ios.config, &item.id)?;
    let staging = if pretend { Staging::pretend(&directory) } else { Staging::begin(&directory)? };
    let source = names::device_of(saved)?;
    let folder = Overlay::of_point(&source, staging, saved)?;
    const HINT: &str = "Choose another point: holdall list. What is in this one can be had with --to DIR.";
    complete::finished(&folder).context("the device would not take this point back").hint(HINT)?;
    let manifest = folder.whole("Manifest.plist", MOST_PLIST)?.context("it has no Manifest.plist").hint(HINT)?;
    let password = options.device.password.as_ref().map(|password| password.read()).transpose()?;
    if is_encrypted(&manifest)? {
        let password = password.as_ref().context("the backup is encrypted, and its password is not known")?;
        Keys::unlock(&manifest, password)?;
    }
    let info = folder.whole("Info.plist", MOST_PLIST)?.map(|info| bounds::parse(&info).context("read Info.plist"));
    let applications =
        info.transpose()?.and_then(Value::into_dictionary).and_then(|mut info| info.remove("Applications"));
    Ok(Point { folder, password, applications })
}

/// Gives a point back, or in a dry run says what would be given.
///
/// # Errors
///
/// When the device does not take it to its end.
pub(super) fn restore(
    ios: &Ios,
    item: &Item,
    saved: &SavedTree,
    options: &RestoreOptions,
    monitor: &dyn Monitor,
) -> Result<Extracted> {
    let mut point = point(ios, item, saved, options, options.dry_run)?;
    if options.dry_run {
        let ids = point.folder.ids();
        let bytes = ids.iter().filter_map(|id| point.folder.body(id)).map(|body| body.size()).sum();
        return Ok(Extracted { files: ids.len() as u64, bytes, ..Extracted::default() });
    }
    let mut phone = here(ios)?;
    let name = printable(phone.name().as_ref());
    let (files, bytes, circumstances) =
        ios.runtime()?.block_on(talk(&mut phone, &mut point, item, &options.device, &name, monitor))?;
    if !options.device.no_reboot {
        monitor.say(&format!("{name} has everything, and restarts now. Leave it alone until it is done."));
    }
    let unsent = circumstances.unsent;
    let unrestored = unsent.len() as u64;
    let problem = |(path, error): (String, String)| Problem {
        path: PathBuf::from("/").join(path),
        error,
        severity: Severity::Unread,
    };
    let problems = unsent.into_iter().take(KEPT).map(problem).collect();
    Ok(Extracted { files, bytes, problems, unrestored, ..Extracted::default() })
}

/// One session: how many files and bytes the device took.
async fn talk(
    phone: &mut Phone,
    point: &mut Point,
    item: &Item,
    options: &DeviceOptions,
    name: &str,
    monitor: &dyn Monitor,
) -> Result<(u64, u64, Circumstances)> {
    let may_prompt = session::may_prompt(phone).await;
    let mut notices = session::listen(phone).await;
    let afc = Afc::new(phone.service("com.apple.afc", Escrow::Without).await?);
    let mut lock = SyncLock::take(afc, &mut notices).await?;
    let result = async {
        let mut wire = session::service(phone).await?;
        if let Some(applications) = point.applications.as_ref().filter(|_| !options.skip_apps) {
            announce_apps(lock.files(), applications).await.context("tell the device which apps were installed")?;
        }
        let request = request(phone.udid(), point, options);
        wire.request("Restore", request).await?;
        let say = |plea| match plea {
            Plea::Passcode => monitor.say(&format!("Enter the passcode on {name}.")),
            Plea::Look => monitor.say(&format!("{name} is silent: if it asks for its passcode, enter it.")),
        };
        let progress = Progress::new(monitor, &item.id, "send");
        let (notices, folder, circumstances) = (&mut notices, &mut point.folder, Circumstances::default());
        let arrived = &mut |_: &_| Ok(());
        let mut serve =
            Serve { wire: &mut wire, folder, notices, progress, arrived, say: &say, may_prompt, circumstances };
        let ended = serve.run().await;
        let (files, bytes, circumstances) = (serve.progress.files(), serve.progress.done(), serve.circumstances);
        match ended {
            Ok(ended) => {
                wire.goodbye().await;
                Ok((files, bytes, refusal::judge(&ended, circumstances, name)?))
            }
            Err(error) => Err(refusal::broken(error, circumstances, name, true)),
        }
    };
    let result = result.await;
    lock.release(&mut notices).await;
    result.map_err(|error: Error| match error.downcast::<crate::source::Away>() {
        // In a backup that would be no failure.
        Ok(away) => {
            hinted(anyhow!("nothing was restored: {away}"), "Unlock the device, try again, and enter the passcode.")
        }
        Err(error) => error,
    })
}

/// What is asked of the device.
fn request(target: &str, point: &Point, options: &DeviceOptions) -> Dictionary {
    let source = point.folder.udid();
    let mut asked = Dictionary::from_iter([
        ("RestoreSystemFiles", options.system_files),
        ("RestoreShouldReboot", !options.no_reboot),
        ("RestoreDontCopyBackup", !options.copy),
        ("RestorePreserveSettings", !options.replace_settings),
        ("RemoveItemsNotRestored", options.remove_others),
    ]);
    if let Some(password) = &point.password {
        asked.insert("Password".to_owned(), Value::from(&**password));
    }
    let mut request = Dictionary::from_iter([("TargetIdentifier", target), ("SourceIdentifier", source)]);
    request.insert("Options".to_owned(), Value::Dictionary(asked));
    request
}

/// Leaves the list of apps where the device finds it once it has restarted, and installs them.
async fn announce_apps(files: &mut Afc, applications: &Value) -> Result<()> {
    let mut list = Vec::new();
    applications.to_writer_xml(&mut list).context("write the list of apps")?;
    files.make_folder("/iTunesRestore").await?;
    files.write("/iTunesRestore/RestoreApplications.plist", &list).await
}
