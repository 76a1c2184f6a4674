//! What the errors of an SFTP server mean.

use std::io;

use ssh2::ErrorCode;

/// `LIBSSH2_ERROR_FILE`: what the library says at the end of a directory.
const END: ErrorCode = ErrorCode::Session(-16);

/// An error of the protocol (section 7 of the draft) as one of a file; any other as one of the connection, with a kind that no file has.
pub(super) fn to_io(error: ssh2::Error) -> io::Error {
    let (kind, text) = match error.code() {
        ErrorCode::SFTP(2 | 10) => (io::ErrorKind::NotFound, "no such file or directory"),
        ErrorCode::SFTP(3) => (io::ErrorKind::PermissionDenied, "permission denied"),
        ErrorCode::SFTP(4) => (io::ErrorKind::Other, "the server says no more than that it failed"),
        ErrorCode::SFTP(8) => (io::ErrorKind::Unsupported, "the server cannot do that"),
        ErrorCode::SFTP(11) => (io::ErrorKind::AlreadyExists, "something is there already"),
        ErrorCode::SFTP(14 | 15) => (io::ErrorKind::StorageFull, "there is no space left"),
        ErrorCode::SFTP(6 | 7) | ErrorCode::Session(_) => {
            return io::Error::new(io::ErrorKind::NotConnected, format!("the connection failed: {error}"));
        }
        ErrorCode::SFTP(_) => return io::Error::other(error.to_string()),
    };
    io::Error::new(kind, text)
}

/// Whether this ends a directory.
pub(super) fn is_end(error: &ssh2::Error) -> bool {
    error.code() == END
}

/// Whether nothing more can be done on this connection.
pub(super) fn is_lost(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotConnected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_files_and_of_the_connection_are_told_apart() {
        let kind = |code| to_io(ssh2::Error::new(code, "x")).kind();
        assert_eq!(kind(ErrorCode::SFTP(2)), io::ErrorKind::NotFound);
        assert_eq!(kind(ErrorCode::SFTP(3)), io::ErrorKind::PermissionDenied);
        assert_eq!(kind(ErrorCode::SFTP(99)), io::ErrorKind::Other);
        for lost in [ErrorCode::SFTP(7), ErrorCode::Session(-13), ErrorCode::Session(-9)] {
            assert!(is_lost(&to_io(ssh2::Error::new(lost, "x"))));
        }
    }
}
