//! ACLs as text, which is how tar sends and takes them, and as the kernel has them (`linux/posix_acl_xattr.h`).

/// The attribute of what counts for an entry itself.
pub(crate) const ACCESS: &str = "system.posix_acl_access";
/// The attribute of what is given to what is made in a directory.
pub(crate) const DEFAULT: &str = "system.posix_acl_default";

const VERSION: u32 = 2;
/// The number of an entry that is about nobody in particular.
const UNDEFINED: u32 = u32::MAX;

/// The value of the attribute for an ACL like `user::rwx,user:1000:r--,group::r-x,mask::rwx,other::---`.
///
/// # Errors
///
/// When it is not well-formed, or says a name and no number: what a name means, only the machine knows.
pub(crate) fn binary(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut entries = Vec::new();
    for line in text.split(|byte| matches!(byte, b'\n' | b',')) {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
        if !line.is_empty() {
            entries.push(entry(&String::from_utf8_lossy(line))?);
        }
    }
    // As the kernel wants them; those of the same tag stay in their order.
    entries.sort_by_key(|&(tag, ..)| tag);
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    Ok(value)
}

/// Whether an ACL of this value says what the mode says already: it is about owner, group and others, and nobody else.
pub(crate) fn is_mode(value: &[u8]) -> bool {
    let entries = value.get(VERSION.to_le_bytes().len()..).unwrap_or_default();
    entries.chunks(8).all(|entry| matches!(entry, [0x01 | 0x04 | 0x20, ..]))
}

/// The text of an ACL with numbers in place of names; `None` when the value is none that the kernel would give.
pub(super) fn text(value: &[u8]) -> Option<String> {
    let entries = value.strip_prefix(&VERSION.to_le_bytes())?;
    let mut words = Vec::new();
    for entry in entries.chunks(8) {
        let &[tag, 0, permissions, 0, a, b, c, d] = entry else { return None };
        let kind = match tag {
            0x01 | 0x02 => "user",
            0x04 | 0x08 => "group",
            0x10 => "mask",
            0x20 => "other",
            _ => return None,
        };
        let who = if matches!(tag, 0x02 | 0x08) { u32::from_le_bytes([a, b, c, d]).to_string() } else { String::new() };
        let letter = |bit, letter| if permissions & bit == 0 { '-' } else { letter };
        words.push(format!("{kind}:{who}:{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')));
    }
    (!words.is_empty()).then(|| words.join(","))
}

/// Tag, permissions and number of `user:1000:r--`. Some tars write the number behind a name: `user:me:r--:1000`.
fn entry(line: &str) -> Result<(u16, u16, u32), String> {
    let fields: Vec<&str> = line.split(':').map(str::trim).collect();
    let [kind, who, permissions, rest @ ..] = &fields[..] else {
        return Err(format!("`{line}` is not well-formed"));
    };
    let tag = match (*kind, who.is_empty()) {
        ("user" | "u", true) => 0x01,
        ("user" | "u", false) => 0x02,
        ("group" | "g", true) => 0x04,
        ("group" | "g", false) => 0x08,
        ("mask" | "m", true) => 0x10,
        ("other" | "o", true) => 0x20,
        _ => return Err(format!("`{line}` is not well-formed")),
    };
    let id = match (who.is_empty(), rest) {
        (true, []) => UNDEFINED,
        (false, []) => who.parse().map_err(|_| format!("`{line}` says a name and no number"))?,
        (false, [id]) => id.parse().map_err(|_| format!("`{line}` says no number"))?,
        _ => return Err(format!("`{line}` is not well-formed")),
    };
    let mut bits = 0;
    for letter in permissions.chars() {
        bits |= match letter {
            'r' => 4,
            'w' => 2,
            'x' => 1,
            '-' => 0,
            _ => return Err(format!("`{line}` has permissions that there are not")),
        };
    }
    Ok((tag, bits, id))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::fs::lgetxattr;

    use super::*;

    #[test]
    fn text_becomes_what_the_kernel_has() {
        let place = tempfile::tempdir().unwrap();
        let spec = "u:70000:r,u:5:rw,g:33:rwx,g:7:-";
        assert!(Command::new("setfacl").args(["-m", spec]).arg(place.path()).status().unwrap().success());
        let mut buffer = [0; 256];
        let length = lgetxattr(place.path(), ACCESS, &mut buffer).unwrap();
        let told = Command::new("getfacl").args(["-cn"]).arg(place.path()).output().unwrap().stdout;
        assert_eq!(binary(&told).unwrap(), &buffer[..length]);
        assert_eq!(binary(text(&buffer[..length]).unwrap().as_bytes()).unwrap(), &buffer[..length]);
        let commas: Vec<u8> = told.iter().map(|&byte| if byte == b'\n' { b',' } else { byte }).collect();
        assert_eq!(binary(&commas).unwrap(), &buffer[..length]);
    }

    #[test]
    fn acl_of_owner_group_and_others_is_the_mode() {
        assert!(is_mode(&binary(b"user::rwx,group::r-x,other::---").unwrap()));
        for more in ["user:7:r--", "group:7:r--", "mask::rwx"] {
            assert!(!is_mode(&binary(format!("user::rwx,group::r-x,other::---,{more}").as_bytes()).unwrap()), "{more}");
        }
    }

    #[test]
    fn name_needs_a_number() {
        let with_number = binary(b"user:me:rw-:1000").unwrap();
        assert_eq!(with_number, binary(b"user:1000:rw-").unwrap());
        assert!(binary(b"user:me:rw-").unwrap_err().contains("a name"));
    }

    #[test]
    fn value_that_is_no_acl_has_no_text() {
        let good = binary(b"user::rwx,group:7:r--").unwrap();
        assert_eq!(text(&good).unwrap(), "user::rwx,group:7:r--");
        for bad in [&b""[..], b"\x01\0\0\0", b"\x02\0\0\0", &good[..good.len() - 1], &[&good[..], &[9; 8]].concat()] {
            assert_eq!(text(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let bad = [
            "user",
            "user:",
            "user:1:rwz",
            "owner::r--",
            "mask:1:r--",
            "user:1:r--:2:3",
            "user:-1:r--",
            "user:4294967296:r",
            "::",
        ];
        for text in bad {
            assert!(binary(text.as_bytes()).is_err(), "{text}");
        }
    }
}
