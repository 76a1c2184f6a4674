//! The PAX records before an entry: long times, extended attributes, ACLs.

use super::acl;
use crate::store::Metadata;

/// Key and value.
type Record = (String, Vec<u8>);

const SECOND: i128 = 1_000_000_000;

/// The seconds of the last change, as far as a plain header can hold them.
pub(super) fn whole_seconds(meta: &Metadata) -> u64 {
    u64::try_from(nanoseconds(meta).div_euclid(SECOND)).unwrap_or(0)
}

/// What a plain header cannot hold of the time of the last change.
pub(super) fn of_times(meta: &Metadata) -> Vec<Record> {
    let nanoseconds = nanoseconds(meta);
    let is_plain = nanoseconds >= 0 && nanoseconds % SECOND == 0;
    (!is_plain).then(|| ("mtime".to_owned(), decimal(nanoseconds).into_bytes())).into_iter().collect()
}

fn nanoseconds(meta: &Metadata) -> i128 {
    meta.mtime.map_or(0, |time| time.as_nanosecond())
}

/// The extended attributes, and why some cannot be told.
///
/// ACLs are there twice, as GNU tar writes them: with `--acls` it takes the text and passes over the attribute.
pub(super) fn of_attributes(meta: &Metadata) -> (Vec<Record>, Vec<&'static str>) {
    let (mut records, mut refused) = (Vec::new(), Vec::new());
    for attribute in &meta.extended_attributes {
        if attribute.name.is_empty() || attribute.name.contains(['\n', '\0']) {
            refused.push("an extended attribute has a name that an archive cannot hold");
            continue;
        }
        let value = attribute.value.clone().unwrap_or_default();
        let key = match attribute.name.as_str() {
            acl::ACCESS => Some("SCHILY.acl.access"),
            acl::DEFAULT => Some("SCHILY.acl.default"),
            _ => None,
        };
        if let Some(key) = key {
            match acl::text(&value) {
                Some(text) => records.push((key.to_owned(), text.into_bytes())),
                None => refused.push("its ACL is none that a file can have"),
            }
        }
        records.push((format!("SCHILY.xattr.{}", encode(&attribute.name)), value));
    }
    (records, refused)
}

/// The name of an attribute with the two escapes that GNU tar knows.
fn encode(name: &str) -> String {
    name.replace('%', "%25").replace('=', "%3D")
}

/// Seconds as a decimal fraction without trailing zeros: `-0.5`, `12.000000001`.
fn decimal(nanoseconds: i128) -> String {
    let (sign, amount) = if nanoseconds < 0 { ("-", -nanoseconds) } else { ("", nanoseconds) };
    let text = format!("{sign}{}.{:09}", amount / SECOND, amount % SECOND);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::node;

    #[test]
    fn times_are_written_without_trailing_zeros() {
        assert_eq!(decimal(12_000_000_001), "12.000000001");
        assert_eq!(decimal(-500_000_000), "-0.5");
        assert_eq!(decimal(-2_000_000_000), "-2");
        assert_eq!(decimal(10_000_000_000), "10");
    }

    #[test]
    fn attributes_are_named_as_gnu_tar_does_and_acls_are_text_as_well() {
        let mut meta = Metadata::default();
        let acl = acl::binary(b"user::rw-,user:7:r--,group::r--,mask::r--,other::---").unwrap();
        let attributes = [("user.a=%", &b"1"[..]), ("system.posix_acl_access", &acl), ("user.\n", b"2")];
        node::set_xattrs(&mut meta, &attributes.map(|(name, value)| (name.to_owned(), value.to_vec())));
        let (records, refused) = of_attributes(&meta);
        let text = b"user::rw-,user:7:r--,group::r--,mask::r--,other::---".to_vec();
        let expected = [
            ("SCHILY.xattr.user.a%3D%25", b"1".to_vec()),
            ("SCHILY.acl.access", text),
            ("SCHILY.xattr.system.posix_acl_access", acl),
        ];
        assert_eq!(records, expected.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(refused.len(), 1);
    }
}
