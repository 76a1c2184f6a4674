//! What goes well: full and incremental backups.

use super::support::iphone::Settings;
use super::{Rig, item};

#[test]
fn full_backup_holds_all_that_is_on_the_phone() {
    let rig = Rig::new(Settings::default());
    let saved = rig.saved(&[]);
    assert_eq!(rig.phone.backup.seen().full, Some(true));
    rig.assert_holds_the_phone(saved["snapshot"].as_str().unwrap());
}
