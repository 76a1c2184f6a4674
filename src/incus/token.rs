//! Tokens, with which a client makes itself trusted once: what `incus config trust add` prints.
//!
//! A token names the server's certificate, so that whoever has it knows who must answer. The form is `CertificateAddToken` of Incus
//! (`shared/api/certificate.go`): JSON in base64. The addresses in it are not used: where the server is, is said by whoever onboards it.

use std::fmt;

use anyhow::{Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;

use crate::error::{Annotate, ExitCode};

/// No token is longer than this, in bytes; what `incus config trust add` prints around it has room, too.
const LONGEST: usize = 64 << 10;

/// How to get another one.
pub const HOW_TO_MAKE_ONE: &str = "Make one on that server with `incus config trust add holdall`, or for some projects only with \
     `incus config trust add holdall --restricted --projects default`.";

/// What makes a client trusted, once.
pub struct Token {
    /// Whom the server takes us for.
    pub client_name: String,
    /// The SHA-256 of the server's certificate, 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// When it ends; `None`: never.
    pub ends: Option<DateTime<Utc>>,
    text: String,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    client_name: String,
    #[serde(default)]
    fingerprint: String,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
}

impl Token {
    /// Reads a token, alone or as the last line of what `incus config trust add` has printed.
    ///
    /// # Errors
    ///
    /// When it is none; exit code [`ExitCode::Usage`].
    pub fn parse(text: &str) -> Result<Self> {
        read(text).hint(HOW_TO_MAKE_ONE).exit(ExitCode::Usage)
    }

    /// Refuses a token that has ended.
    ///
    /// # Errors
    ///
    /// When it has; exit code [`ExitCode::Usage`].
    pub fn must_hold(&self, now: DateTime<Utc>) -> Result<()> {
        match self.ends {
            Some(end) if end <= now => Err(anyhow!("the token ended at {}", end.format("%Y-%m-%d %H:%M:%S UTC")))
                .hint(HOW_TO_MAKE_ONE)
                .exit(ExitCode::Usage),
            _ => Ok(()),
        }
    }

    /// The token as the server wants it back. A secret until it has been used.
    pub fn secret(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("fingerprint", &self.fingerprint)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

// No error says what stands in the text: it may be a secret that is only spelt wrong.
fn read(text: &str) -> Result<Token> {
    if text.len() > LONGEST {
        bail!("it is longer than a token can be");
    }
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).ok_or_else(|| anyhow!("it is empty"))?;
    let Ok(json) = STANDARD.decode(line) else { bail!("it is no base64, which tokens are in") };
    let Ok(written) = serde_json::from_slice::<Written>(&json) else { bail!("it is base64 of something else") };
    let fingerprint = written.fingerprint;
    if fingerprint.len() != 64 || !fingerprint.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        bail!("it does not name the certificate of its server");
    }
    if written.secret.is_empty() {
        bail!("it has no secret");
    }
    // Go's zero time.
    let ends = written.expires_at.filter(|time| time.year() > 1);
    Ok(Token { client_name: written.client_name, fingerprint, ends, text: line.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::error::{chain, exit_code};

    fn written(change: impl Fn(&mut Value)) -> String {
        let mut value = json!({
            "client_name": "holdall",
            "fingerprint": "94d25745338a69b0b31fe287dd2781411189274aede4a9a2a64bbf99ab5dcedb",
            "addresses": ["127.0.0.1:8443", "[::1]:8443"],
            "secret": "hunter2",
            "expires_at": "0001-01-01T00:00:00Z",
        });
        change(&mut value);
        STANDARD.encode(value.to_string())
    }

    fn error(text: &str) -> String {
        let error = Token::parse(text).unwrap_err();
        assert_eq!(exit_code(&error), ExitCode::Usage);
        chain(&error)
    }

    #[test]
    fn whole_output_of_incus_is_as_good_as_the_token_alone() {
        let token = written(|_| ());
        for text in [token.clone(), format!(" {token}\r\n"), format!("Client x certificate add token:\n{token}\n\n")] {
            let read = Token::parse(&text).unwrap();
            assert_eq!((read.secret(), read.client_name.as_str()), (token.as_str(), "holdall"));
            assert_eq!(&read.fingerprint[..8], "94d25745");
        }
    }

    #[test]
    fn zero_time_is_no_end_and_a_time_that_has_come_is_one() {
        let now = "2026-02-05T12:00:00Z".parse().unwrap();
        Token::parse(&written(|_| ())).unwrap().must_hold(now).unwrap();
        Token::parse(&written(|token| token["expires_at"] = Value::Null)).unwrap().must_hold(now).unwrap();
        let later = written(|token| token["expires_at"] = "2026-02-05T14:00:00.5+02:00".into());
        Token::parse(&later).unwrap().must_hold(now).unwrap();
        let over = written(|token| token["expires_at"] = "2026-02-05T14:00:00+02:00".into());
        let error = Token::parse(&over).unwrap().must_hold(now).unwrap_err();
        assert_eq!(chain(&error), "the token ended at 2026-02-05 12:00:00 UTC");
        assert_eq!(exit_code(&error), ExitCode::Usage);
    }

    #[test]
    fn what_is_no_token_is_refused_without_showing_it() {
        assert_eq!(error(" \n"), "it is empty");
        assert_eq!(error("hunter2!"), "it is no base64, which tokens are in");
        assert_eq!(error(&STANDARD.encode("hunter2")), "it is base64 of something else");
        assert_eq!(error(&"a".repeat(70_000)), "it is longer than a token can be");
        assert_eq!(error(&written(|token| token["secret"] = "".into())), "it has no secret");
        for wrong in ["", "94d2", &"g".repeat(64), &"A".repeat(64), &"../".repeat(22)[..64]] {
            let text = error(&written(|token| token["fingerprint"] = wrong.into()));
            assert_eq!(text, "it does not name the certificate of its server", "{wrong}");
        }
    }

    #[test]
    fn secret_is_not_shown() {
        let token = Token::parse(&written(|_| ())).unwrap();
        assert!(!format!("{token:?}").contains(token.secret()));
    }
}
