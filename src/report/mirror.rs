//! A mirror's line in the report of a run.

use std::time::Duration;

use anyhow::Error;
use serde::Serialize;

use super::json::{hint, seconds};
use crate::error::chain;
use crate::quantity::{show_bytes, show_duration};

/// What came of catching a mirror up. Why one failed is among [`super::Report::errors`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorReport {
    /// The name of the mirror.
    pub mirror: &'static str,
    /// Whether it has now everything that it is to have.
    pub is_well: bool,
    /// How many points were copied; in a dry run, would be.
    pub copied: u64,
    /// By how many bytes it grew.
    pub bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether this is a dry run.
    pub is_rehearsal: bool,
}

impl MirrorReport {
    /// The line for people.
    pub fn line(&self) -> String {
        let points = format!("{} {}", self.copied, if self.copied == 1 { "point" } else { "points" });
        let copied = match (self.copied, self.is_rehearsal) {
            (0, _) if self.is_well => "up to date".to_owned(),
            (0, _) => "nothing copied".to_owned(),
            (_, true) => format!("would copy {points}"),
            (_, false) => format!("copied {points} (stored {})", show_bytes(self.bytes)),
        };
        let failed = if self.is_well { "" } else { "failed: " };
        format!("mirror {}  {failed}{copied}, in {}", self.mirror, show_duration(self.elapsed))
    }

    /// `{"type":"mirror","mirror","outcome":"ok|failed","copied","bytes","seconds","error","hint"}`; `errors` is what went wrong, of which the first is told.
    pub fn to_json(&self, errors: &[Error]) -> impl Serialize + use<> {
        #[derive(Serialize)]
        struct Line {
            r#type: &'static str,
            mirror: &'static str,
            outcome: &'static str,
            copied: u64,
            bytes: u64,
            seconds: f64,
            error: Option<String>,
            hint: Option<String>,
        }
        let error = errors.first();
        Line {
            r#type: "mirror",
            mirror: self.mirror,
            outcome: if self.is_well { "ok" } else { "failed" },
            copied: self.copied,
            bytes: self.bytes,
            seconds: seconds(self.elapsed),
            error: error.map(chain),
            hint: error.and_then(hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::hinted;

    fn report(is_well: bool, copied: u64) -> MirrorReport {
        let elapsed = Duration::from_millis(4200);
        MirrorReport { mirror: "offsite", is_well, copied, bytes: 1536, elapsed, is_rehearsal: false }
    }

    #[test]
    fn line_says_what_was_copied() {
        assert_eq!(report(true, 0).line(), "mirror offsite  up to date, in 4.2s");
        assert_eq!(report(true, 1).line(), "mirror offsite  copied 1 point (stored 1.50 KiB), in 4.2s");
        assert_eq!(report(false, 0).line(), "mirror offsite  failed: nothing copied, in 4.2s");
        assert_eq!(report(false, 2).line(), "mirror offsite  failed: copied 2 points (stored 1.50 KiB), in 4.2s");
        let rehearsal = MirrorReport { is_rehearsal: true, ..report(true, 2) };
        assert_eq!(rehearsal.line(), "mirror offsite  would copy 2 points, in 4.2s");
    }

    #[test]
    fn json_has_every_field_in_the_promised_order() {
        let errors = [hinted(anyhow::anyhow!("no answer"), "look there")];
        let text = |report: MirrorReport, errors| serde_json::to_string(&report.to_json(errors)).unwrap();
        assert_eq!(
            text(report(false, 2), &errors),
            r#"{"type":"mirror","mirror":"offsite","outcome":"failed","copied":2,"bytes":1536,"seconds":4.2,"error":"no answer","hint":"look there"}"#
        );
        assert!(text(report(true, 0), &[]).ends_with(r#""error":null,"hint":null}"#));
    }
}
