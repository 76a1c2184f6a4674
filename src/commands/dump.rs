//! `holdall dump`: one file to standard output, or a directory as tar.
//!
//! How an archive is made of a tree is in [`crate::archive`].

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context as _, Result, anyhow};

use super::Context;
use super::mirrors::FromArgs;
use super::names::{Names, NamesArgs};
use super::places::explain_servers;
use crate::archive::{self, Archive, Sink};
use crate::error::{Annotate, ExitCode};
use crate::extract::Chosen;
use crate::output::printable;
use crate::store::{Node, NodeType};
use crate::timeline::Timeline;

/// Arguments of `dump`.
#[derive(Debug, clap::Args)]
pub struct DumpArgs {
    /// A point spec, see [`crate::select`].
    #[arg(
        value_name = "SPEC",
        add = super::completions::specs(),
        help = "What to write: ITEM[@POINT][:PATH]; POINT is latest, latest~N, an id or a date"
    )]
    spec: String,

    /// Which repository is read.
    #[command(flatten)]
    from: FromArgs,

    /// How points of devices are shown.
    #[command(flatten)]
    names: NamesArgs,
}

/// Runs `dump`.
pub fn run(args: &DumpArgs, context: &Context) -> Result<ExitCode> {
    let config = context.config()?;
    let store = args.from.open(context, &config)?;
    let chosen = Chosen::open(&store, &store.points()?, &args.spec);
    let mut chosen = chosen.map_err(|error| explain_servers(&config, &args.spec, error))?;
    let refused = Names::new(&args.names, context, &config).show(&mut chosen)?;
    let node = chosen.node()?;
    let path = printable(chosen.path().as_os_str());
    match node.node_type {
        NodeType::File => file(&chosen, &node, context).with_context(|| format!("write {path}")),
        NodeType::Dir => {
            if io::stdout().is_terminal() {
                return Err(anyhow!("{path} is a directory, and its tar archive is not for a terminal"))
                    .hint(format!("holdall dump {} > FILE.tar", args.spec))
                    .exit(ExitCode::Usage);
            }
            let code = directory(&chosen, node, context).with_context(|| format!("write {path} as tar"))?;
            Ok(if code == ExitCode::Done {
                refused.tell()
            } else {
                refused.tell();
                code
            })
        }
        NodeType::Symlink { .. } => {
            let target = printable(node.node_type.to_link().as_os_str());
            Err(anyhow!("{path} is a link to {target}; links are not followed in a point"))
        }
        NodeType::Dev { .. } | NodeType::Chardev { .. } | NodeType::Fifo | NodeType::Socket => {
            Err(anyhow!("{path} is not a file and has no content"))
        }
    }
}

fn file(chosen: &Chosen, node: &Node, context: &Context) -> Result<ExitCode> {
    let mut writer = context.output.writer();
    for piece in chosen.saved.read(node)? {
        writer.write_all(&piece?)?;
    }
    writer.flush()?;
    Ok(ExitCode::Done)
}

fn directory(chosen: &Chosen, node: Node, context: &Context) -> Result<ExitCode> {
    let mut writer = context.output.writer();
    let mut told = Told { is_complete: true };
    let mut archive = Archive::new(&chosen.saved, &mut writer, &mut told);
    let name = archive::name(chosen.path())?;
    if name.is_empty() {
        archive.add_content(name, &node)?
    } else {
        archive.add(name, &node)?
    }
    archive.finish()?;
    writer.flush()?;
    Ok(if told.is_complete { ExitCode::Done } else { ExitCode::Incomplete })
}

/// Says what is not in the archive.
struct Told {
    is_complete: bool,
}

impl Sink for Told {
    fn leave_out(&mut self, name: &[u8], why: &str) {
        tracing::error!("left out {}: {}", printable(OsStr::from_bytes(name)), printable(why.as_ref()));
        self.is_complete = false;
    }
}
