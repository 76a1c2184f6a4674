//! The script that lists: what it prints is read by [`super::records`].
//!
//! With `sudo`, these lines are run as root, paths and names apart:
//!
//! ```text
//! find ROOT… [-xdev] [( -path PATH [-o -path PATH]… ) -prune -o] -print0
//! stat -c %f -- /
//! stat -c %f %u %g %s %Y %Z %i %h %d %t %T %y|%z -- NAME…
//! stat -c %s %N -- NAME…
//! readlink -n -- NAME
//! ls -lnid --full-time -- NAME
//! ```
//!
//! `readlink` is for links of which `stat` does not tell plainly enough, `ls` for machines without `stat`.

use super::Request;
use crate::source::ssh::shell::quote;

/// Numbers only, so that nothing in it can be made up by who names files. The fractions of the seconds are in `%y` and `%z`.
const STAT: &str = "%f %u %g %s %Y %Z %i %h %d %t %T %y|%z";

/// How many names are looked at in one go. More would hardly be quicker, and when one of them has vanished, all are looked at one by one.
const BATCH: usize = 200;

/// Describes its arguments by `stat`; PREFIX and STAT are replaced. In the good case: `all`, the lines, and what it says of the links among them,
/// which begin with `a` (0xa000, `S_IFLNK`). The names of those are gathered by turning the arguments round once.
const BY_STAT: &str = r#"[ $# -gt 0 ] || exit 0
printf '%s\0' $# "$@"
if out=$(PREFIXstat -c 'STAT' -- "$@" 2>/dev/null); then
    printf 'all\0%s\0' "$out"
    set -f
    IFS='
'
    for line in $out; do
        name=$1
        shift
        case $line in a*) set -- "$@" "$name" ;; esac
    done
    unset IFS
    [ $# -eq 0 ] || PREFIXstat -c '%s %N' -- "$@" 2>/dev/null
    printf '\0'
else
    printf 'each\0'
    for name; do
        if out=$(PREFIXstat -c 'STAT' -- "$name" 2>&1); then printf '=%s\0' "$out"; else printf '!%s\0' "$out"; fi
    done
fi
exit 0
"#;

/// The same by `ls`, for machines that have no `stat` (OpenWrt). Slower: a process for each name, and one for each link.
const BY_LS: &str = r#"[ $# -gt 0 ] || exit 0
printf '%s\0' $# "$@"
printf 'each\0'
for name; do
    if out=$(PREFIXls -lnid --full-time -- "$name" 2>&1); then printf 'l%s\0' "$out"; else printf '!%s\0' "$out"; fi
done
exit 0
"#;

/// The whole script. `find` and `xargs` tell how they ended at the very end, past what they print: a pipeline has the status of its last part only.
pub(super) fn list(request: &Request<'_>) -> Vec<u8> {
    let prefix = request.prefix;
    let fill = |describe: &str| {
        let text = describe.replace("STAT", STAT);
        let mut filled = Vec::new();
        for (number, part) in text.split("PREFIX").enumerate() {
            if number > 0 {
                filled.extend_from_slice(prefix);
            }
            filled.extend_from_slice(part.as_bytes());
        }
        quote(&filled)
    };
    [
        b"LC_ALL=C QUOTING_STYLE=literal\nexport LC_ALL QUOTING_STYLE\nif ",
        prefix,
        b"stat -c %f -- / >/dev/null 2>&1; then\ndescribe=",
        &fill(BY_STAT),
        b"\nelse\ndescribe=",
        &fill(BY_LS),
        b"\nfi\nexec 4>&1\nended=$( { { ",
        prefix,
        &find(request),
        b"; echo $? >&3; } | xargs -0 -n ",
        BATCH.to_string().as_bytes(),
        b" sh -c \"$describe\" sh >&4; echo $? >&3; } 3>&1 )\nprintf 'end %s\\0' \"$ended\"\n",
    ]
    .concat()
}

/// The call of `find`.
fn find(request: &Request<'_>) -> Vec<u8> {
    let mut line = b"find".to_vec();
    for root in request.roots {
        line.push(b' ');
        line.extend(quote(root));
    }
    if request.is_shallow {
        line.extend_from_slice(b" -maxdepth 1");
    }
    if request.one_file_system {
        line.extend_from_slice(b" -xdev");
    }
    // What was named is wanted, even if it is left out elsewhere.
    let mut pruned = request.pruned.iter().filter(|path| !request.roots.contains(path)).peekable();
    if pruned.peek().is_some() {
        for (number, path) in pruned.enumerate() {
            line.extend_from_slice(if number == 0 { b" \\( -path " } else { b" -o -path " });
            line.extend(quote(&literal(path)));
        }
        line.extend_from_slice(b" \\) -prune -o");
    }
    line.extend_from_slice(b" -print0");
    line
}

/// A pattern that is matched by this path alone.
fn literal(path: &[u8]) -> Vec<u8> {
    let escaped = |&byte: &u8| if b"*?[]\\".contains(&byte) { vec![b'\\', byte] } else { vec![byte] };
    path.iter().flat_map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(prefix: &[u8], pruned: &[Vec<u8>]) -> String {
        let roots = [b"/etc".to_vec(), b"/it's".to_vec()];
        let request = Request {
            roots: &roots,
            prefix,
            one_file_system: true,
            is_shallow: false,
            pruned,
            excludes: &|_, _| false,
        };
        String::from_utf8(list(&request)).unwrap()
    }

    #[test]
    fn sudo_stands_before_every_program_that_looks_at_files() {
        let plain = text(b"", &[]);
        let sudo = text(b"sudo -n ", &[]);
        assert_eq!(sudo.replace("sudo -n ", ""), plain);
        for program in ["find /etc", "stat -c %f", "stat -c '\\''%s %N", "ls -lnid"] {
            assert_eq!(sudo.matches(program).count(), sudo.matches(&format!("sudo -n {program}")).count(), "{program}");
            assert!(plain.contains(program), "{program}");
        }
    }

    #[test]
    fn pruned_paths_are_literal_and_never_roots() {
        let text = text(b"", &[b"/etc".to_vec(), b"/a[b]*".to_vec(), b"/c".to_vec()]);
        assert!(text.contains(r"find /etc '/it'\''s' -xdev \( -path '/a\[b\]\*' -o -path /c \) -prune -o -print0"));
    }
}
