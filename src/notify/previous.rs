//! How the run before ended, from the last lines of the report file: who is told of changes must know from what.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;

use crate::error::ExitCode;
use crate::report::Verdict;

/// How much of the end of the file is read, in bytes: a line can name many items.
const END: u64 = 8 << 20;

/// How the last backup ended of which the file has a whole line. A run that found another one at work says nothing of how backups go.
pub(super) fn verdict(file: &Path) -> Option<Verdict> {
    let mut file = File::open(file).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END))).ok()?;
    let mut bytes = Vec::new();
    file.take(END).read_to_end(&mut bytes).ok()?;
    bytes.rsplit(|byte| *byte == b'\n').find_map(of_line)
}

fn of_line(line: &[u8]) -> Option<Verdict> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let is_backup = line["type"] == "run" && line["command"] == "backup" && line["exit_code"] != ExitCode::Locked as u8;
    is_backup.then(|| Verdict::of_word(line["outcome"].as_str()?)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Verdict> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        verdict(file.path())
    }

    fn line(command: &str, outcome: &str, code: u8) -> String {
        format!(r#"{{"type":"run","command":"{command}","outcome":"{outcome}","exit_code":{code},"items":[]}}"#) + "\n"
    }

    #[test]
    fn last_backup_counts() {
        let failed = line("backup", "failed", 1);
        assert_eq!(of(&failed), Some(Verdict::Failed));
        assert_eq!(of(&(failed.clone() + &line("backup", "incomplete", 3))), Some(Verdict::Incomplete));
        assert_eq!(of(&(line("backup", "ok", 0) + &line("prune", "failed", 1))), Some(Verdict::Ok));
        assert_eq!(of(&(line("backup", "ok", 0) + &line("backup", "failed", 11))), Some(Verdict::Ok));
    }

    #[test]
    fn what_is_cut_or_no_line_is_passed_over() {
        let cut = line("backup", "failed", 1);
        assert_eq!(of(&(line("backup", "ok", 0) + &cut[..20])), Some(Verdict::Ok));
        assert_eq!(of("\0\0\n[]\nnonsense\n"), None);
        assert_eq!(of(""), None);
        assert_eq!(verdict(Path::new("/nonexistent/report.jsonl")), None);
    }
}
