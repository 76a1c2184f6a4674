//! Reads the text of a policy, and says exactly what is wrong with it.

use super::{Policy, Rule, Span, Terms};
use crate::quantity::seconds_per;

/// What is wrong with the text of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PolicyError {
    /// Where in the text, as an offset in bytes from 0. The message gives it as a character, counted from 1.
    pub position: usize,
    message: String,
}

/// A part of the whole text of the policy.
#[derive(Clone, Copy)]
struct Piece<'t> {
    whole: &'t str,
    offset: usize,
    text: &'t str,
}

impl<'t> Piece<'t> {
    /// Splits off the longest beginning all of whose characters are as wanted.
    fn split(self, wanted: impl Fn(char) -> bool) -> (Self, Self) {
        let (head, tail) = self.text.split_at(self.text.find(|c| !wanted(c)).unwrap_or(self.text.len()));
        (Self { text: head, ..self }, Self { text: tail, offset: self.offset + head.len(), ..self })
    }

    fn trimmed(self) -> Self {
        let text = self.text.trim_start();
        Self { offset: self.offset + self.text.len() - text.len(), text: text.trim_end(), ..self }
    }

    fn wrong(&self, why: &str) -> PolicyError {
        let column = self.whole[..self.offset].chars().count() + 1;
        let message = match self.text {
            "" => format!("nothing at position {column}: {why}"),
            text => format!("`{text}` at position {column}: {why}"),
        };
        PolicyError { position: self.offset, message }
    }

    /// Reads a number that is not zero.
    fn positive(&self) -> Result<u64, PolicyError> {
        match self.text.parse() {
            Ok(0) => Err(self.wrong("must be more than zero")),
            Ok(amount) => Ok(amount),
            Err(_) => Err(self.wrong("is too large")),
        }
    }
}

pub(super) fn policy(text: &str) -> Result<Policy, PolicyError> {
    let whole = Piece { whole: text, offset: 0, text }.trimmed();
    if whole.text.is_empty() {
        return Err(Piece { offset: 0, ..whole }
            .wrong("the policy is empty; to keep every point leave the key out or write `all`"));
    }
    if whole.text.eq_ignore_ascii_case("all") {
        return Ok(Policy(Terms::All));
    }
    let mut keep = None;
    let mut rules: Vec<(Rule, &str)> = Vec::new();
    for (index, element) in elements(text).enumerate() {
        if element.text.is_empty() {
            return Err(element.wrong("a rule is missing before or after a comma"));
        } else if element.text.eq_ignore_ascii_case("all") {
            return Err(element.wrong("`all` keeps every point and stands alone"));
        } else if !element.text.bytes().all(|byte| byte.is_ascii_digit()) {
            let rule = rule(element)?;
            if let Some((_, other)) = rules.iter().find(|(other, _)| other.period.seconds == rule.period.seconds) {
                return Err(
                    element.wrong(&format!("its period is as long as that of `{other}`; write one rule for it"))
                );
            }
            rules.push((rule, element.text));
        } else if index > 0 {
            return Err(element.wrong("a number alone, of points to keep, may only stand first"));
        } else {
            let number = element.positive()?;
            keep = Some(usize::try_from(number).map_err(|_| element.wrong("is too large"))?);
        }
    }
    Ok(Policy(Terms::Thin { keep, rules: rules.into_iter().map(|(rule, _)| rule).collect() }))
}

fn elements(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut offset = 0;
    text.split(',').map(move |element| {
        let piece = Piece { whole: text, offset, text: element };
        offset += element.len() + 1;
        piece.trimmed()
    })
}

fn rule(element: Piece<'_>) -> Result<Rule, PolicyError> {
    let digit = |c: char| c.is_ascii_digit();
    let letter = |c: char| c.is_alphabetic();
    let (period, rest) = element.split(digit);
    let (period_unit, rest) = rest.split(letter);
    let (ttl, rest) = rest.split(digit);
    let (ttl_unit, rest) = rest.split(letter);
    if [period, period_unit, ttl, ttl_unit].iter().any(|piece| piece.text.is_empty()) || !rest.text.is_empty() {
        return Err(element.wrong("is not a rule; write a period and how long it holds, for example `1d2w`"));
    }
    let rule = Rule { period: span(period, period_unit)?, ttl: span(ttl, ttl_unit)? };
    if rule.period.seconds > rule.ttl.seconds {
        return Err(element.wrong("its period is longer than the time for which it holds"));
    }
    Ok(rule)
}

fn span(amount: Piece<'_>, unit: Piece<'_>) -> Result<Span, PolicyError> {
    let factor = seconds_per(unit.text)
        .ok_or_else(|| unit.wrong("is no unit of time; use s, min, h, d, w, m (30 d) or y (365 d)"))?;
    let number = amount.positive()?;
    let seconds = number.checked_mul(factor).and_then(|seconds| i64::try_from(seconds).ok());
    let seconds = seconds.ok_or_else(|| amount.wrong("is too large"))?;
    Ok(Span { amount: number, unit: unit.text.to_ascii_lowercase(), seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (usize, String) {
        let error = policy(text).unwrap_err();
        (error.position, error.to_string())
    }

    #[test]
    fn number_must_stand_first_and_once() {
        let why = "a number alone, of points to keep, may only stand first";
        assert_eq!(wrong("3,5"), (2, format!("`5` at position 3: {why}")));
        assert_eq!(wrong("1d2w, 3"), (6, format!("`3` at position 7: {why}")));
    }

    #[test]
    fn empty_element_is_named_by_its_place() {
        let why = "a rule is missing before or after a comma";
        assert_eq!(wrong("3,,1d2w"), (2, format!("nothing at position 3: {why}")));
        assert_eq!(wrong(",1d2w"), (0, format!("nothing at position 1: {why}")));
        assert_eq!(wrong("6, "), (3, format!("nothing at position 4: {why}")));
    }

    #[test]
    fn empty_policy_is_an_error_that_names_all() {
        let expected =
            "nothing at position 1: the policy is empty; to keep every point leave the key out or write `all`";
        assert_eq!(wrong(""), (0, expected.to_owned()));
        assert_eq!(wrong("  "), (0, expected.to_owned()));
    }

    #[test]
    fn all_stands_alone() {
        assert_eq!(wrong("6,all"), (2, "`all` at position 3: `all` keeps every point and stands alone".to_owned()));
    }

    #[test]
    fn zero_amounts_are_refused() {
        assert_eq!(wrong("0"), (0, "`0` at position 1: must be more than zero".to_owned()));
        assert_eq!(wrong("6,0d1w"), (2, "`0` at position 3: must be more than zero".to_owned()));
        assert_eq!(wrong("1d00w"), (2, "`00` at position 3: must be more than zero".to_owned()));
    }

    #[test]
    fn unknown_unit_is_named() {
        let why = "is no unit of time; use s, min, h, d, w, m (30 d) or y (365 d)";
        assert_eq!(wrong("6,1x1d"), (3, format!("`x` at position 4: {why}")));
        assert_eq!(wrong("1d2parsecs"), (3, format!("`parsecs` at position 4: {why}")));
    }

    #[test]
    fn position_in_the_message_counts_characters() {
        let why = "is no unit of time; use s, min, h, d, w, m (30 d) or y (365 d)";
        assert_eq!(wrong("\u{a0}1ä1d"), (3, format!("`ä` at position 3: {why}")));
    }

    #[test]
    fn anything_else_is_not_a_rule() {
        let why = "is not a rule; write a period and how long it holds, for example `1d2w`";
        for text in ["abc", "1d", "-1", "+6", "1h 2d", "1d2w3", "1d2w;", "d2w", "1d2"] {
            assert_eq!(wrong(text), (0, format!("`{text}` at position 1: {why}")));
        }
    }

    #[test]
    fn period_longer_than_its_ttl_is_refused_and_equal_allowed() {
        let why = "its period is longer than the time for which it holds";
        assert_eq!(wrong("3,2d1d"), (2, format!("`2d1d` at position 3: {why}")));
        assert_eq!(policy("1d1d").unwrap().to_string(), "1d1d");
        assert_eq!(policy("7d1w").unwrap().to_string(), "7d1w");
    }

    #[test]
    fn two_rules_of_one_period_are_refused_by_length() {
        let why = |other| format!("its period is as long as that of `{other}`; write one rule for it");
        assert_eq!(wrong("7d2m,1w3m"), (5, format!("`1w3m` at position 6: {}", why("7d2m"))));
        assert_eq!(wrong("60MIN1d, 1h2d"), (9, format!("`1h2d` at position 10: {}", why("60MIN1d"))));
    }

    #[test]
    fn overflow_is_an_error() {
        let digits = "99999999999999999999";
        assert_eq!(wrong(digits), (0, format!("`{digits}` at position 1: is too large")));
        assert_eq!(wrong(&format!("1d{digits}y")), (2, format!("`{digits}` at position 3: is too large")));
        assert_eq!(wrong("1d1000000000000y"), (2, "`1000000000000` at position 3: is too large".to_owned()));
        assert_eq!(policy("1s9223372036854775807s").unwrap().to_string(), "1s9223372036854775807s");
        assert_eq!(wrong("1s9223372036854775808s").0, 2);
    }

    #[test]
    fn case_and_blanks_around_commas_do_not_matter() {
        assert_eq!(policy(" 6 ,1H2D\t, 15Min1W ").unwrap(), policy("6,1h2d,15min1w").unwrap());
    }
}
