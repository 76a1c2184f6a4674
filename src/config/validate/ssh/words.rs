//! Single values of a login: names of hosts and users, ports, fingerprints.

use std::net::Ipv6Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// The name or address of a machine.
pub(super) fn check_host(text: &str) -> Result<String, String> {
    if let Some(unspecific) = plain_word(text) {
        return Err(unspecific);
    }
    if let Some((user, host)) = text.rsplit_once('@') {
        return Err(format!("holds a user; write host = \"{host}\" and user = \"{user}\""));
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return Err(format!("write the address without brackets: `{inner}`"));
    }
    let is_v6 = text.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    match text.rsplit_once(':') {
        Some((host, port)) if !is_v6 && port.parse::<u16>().is_ok() => {
            Err(format!("holds a port; write host = \"{host}\" and port = {port}"))
        }
        _ if text.contains(['/', '[', ']']) || text.contains(':') && !is_v6 => {
            Err(format!("`{text}` is neither a name nor an address"))
        }
        _ => Ok(text.to_owned()),
    }
}

/// A user name.
pub(super) fn check_user(text: &str) -> Result<String, String> {
    plain_word(text).map_or_else(|| Ok(text.to_owned()), Err)
}

/// Why something cannot be the name of a host or a user.
fn plain_word(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".to_owned());
    }
    if text.starts_with('-') {
        return Some(format!("`{text}` begins with `-`, as an option does"));
    }
    text.chars().any(|c| c.is_control() || c.is_whitespace()).then(|| "holds a blank or a control character".to_owned())
}

/// The fingerprint of a key as OpenSSH shows it.
pub(super) fn check_fingerprint(text: &str) -> Result<String, &'static str> {
    let digest = text.strip_prefix("SHA256:").filter(|digest| digest.len() == 43);
    // Decoding also finds last characters that no digest ends with.
    match digest.and_then(|digest| STANDARD_NO_PAD.decode(digest).ok()) {
        Some(_) => Ok(text.to_owned()),
        None => Err("not a fingerprint, which is `SHA256:` and 43 characters as `ssh-keygen -l` shows it; \
                     `holdall onboard ssh` shows and pins it"),
    }
}

/// The port of a server.
pub(super) fn check_port(port: i64) -> Result<u16, String> {
    u16::try_from(port).ok().filter(|&port| port != 0).ok_or_else(|| format!("{port} is no port; use 1 to 65535"))
}

/// User, host and port of `[USER@]HOST[:PORT]`; an IPv6 address with a port stands in brackets.
pub(super) fn split_jump(text: &str) -> Result<(Option<String>, String, Option<u16>), String> {
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(check_user(user).map_err(|error| format!("the user {error}"))?), place),
        None => (None, text),
    };
    let (host, port) = if let Some((host, rest)) = place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let port = rest.strip_prefix(':');
        if port.is_none() && !rest.is_empty() {
            return Err("write it as USER@[ADDRESS]:PORT".to_owned());
        }
        (host, port)
    } else if place.parse::<Ipv6Addr>().is_ok() {
        (place, None)
    } else {
        place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)))
    };
    let number = |port: &str| port.parse().map_err(|_| format!("`{port}` is no port; write it as USER@HOST:PORT"));
    let port = port.map(number).transpose()?.map(check_port).transpose()?;
    Ok((user, check_host(host).map_err(|error| format!("the host {error}"))?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_a_name_or_an_address_and_nothing_else() {
        for text in ["pi.lan", "pi", "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "bücher.example", "a_b"] {
            assert_eq!(check_host(text), Ok(text.to_owned()));
        }
        for (text, error) in [
            ("", "is empty"),
            ("-oProxyCommand=x", "`-oProxyCommand=x` begins with `-`, as an option does"),
            ("me@pi", "holds a user; write host = \"pi\" and user = \"me\""),
            ("pi:2222", "holds a port; write host = \"pi\" and port = 2222"),
            ("[::1]", "write the address without brackets: `::1`"),
            ("ssh://pi", "`ssh://pi` is neither a name nor an address"),
            ("pi:", "`pi:` is neither a name nor an address"),
            ("pi/x", "`pi/x` is neither a name nor an address"),
            ("a b", "holds a blank or a control character"),
            ("a\nb", "holds a blank or a control character"),
        ] {
            assert_eq!(check_host(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn fingerprint_is_as_openssh_shows_it() {
        let good = "SHA256:uNiVztksCsDhcc0u9e8BrJlhSFTNiWmXPYq3Mf1lzLU";
        assert_eq!(check_fingerprint(good), Ok(good.to_owned()));
        for bad in [
            "",
            "SHA256:",
            &good[..49],
            &format!("{good}="),
            &good[7..],
            &good.replace('u', "-"),
            &good.replace("lzLU", "lzLV"),
            "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
        ] {
            assert!(check_fingerprint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn jump_is_a_user_a_host_and_a_port() {
        for (text, user, host, port) in [
            ("bastion", None, "bastion", None),
            ("me@bastion:2222", Some("me"), "bastion", Some(2222)),
            ("me@corp@bastion", Some("me@corp"), "bastion", None),
            ("[2001:db8::1]:2222", None, "2001:db8::1", Some(2222)),
            ("me@[::1]", Some("me"), "::1", None),
            ("::1", None, "::1", None),
        ] {
            assert_eq!(split_jump(text), Ok((user.map(str::to_owned), host.to_owned(), port)));
        }
        for bad in ["", "@x", "me@", "-x", "me@-x", "x:", "x:0", "x:65536", "x:22:22", "[::1]22", "[::1", "[x", "a b"] {
            assert!(split_jump(bad).is_err(), "{bad}");
        }
    }
}
