//! rustic's library as a user of the local store: another hand that makes repositories and saves, and a way to look inside.

use rustic_backend::BackendOptions;
use rustic_core::repofile::{IndexFile, SnapshotFile};
use rustic_core::{
    BackupOptions, ConfigOptions, Credentials, KeyOptions, OpenStatus, PathList, Repository, RepositoryOptions,
    SnapshotOptions,
};

use super::env::{PASSWORD, TestEnv};

fn unopened(env: &TestEnv) -> Repository<()> {
    let backends = BackendOptions::default().repository(env.store().to_str().unwrap()).to_backends().unwrap();
    Repository::new(&RepositoryOptions::default().no_cache(true), &backends).unwrap()
}

/// Makes the repository at [`TestEnv::store`].
pub fn init(env: &TestEnv, options: &ConfigOptions) {
    let key = KeyOptions::default().hostname("elsewhere".to_owned()).username("somebody".to_owned());
    drop(unopened(env).init(&Credentials::password(PASSWORD), &key, options).unwrap());
}

/// Opens it.
pub fn open(env: &TestEnv) -> Repository<OpenStatus> {
    unopened(env).open(&Credentials::password(PASSWORD)).unwrap()
}

/// Saves [`TestEnv::source`] with these tags and returns the snapshot.
pub fn backup(env: &TestEnv, tags: &str) -> SnapshotFile {
    let repository = open(env).to_indexed_ids().unwrap();
    let snapshot = SnapshotOptions::default().host("elsewhere".to_owned()).add_tags(tags).unwrap().to_snapshot();
    let paths = PathList::from_string(env.source().to_str().unwrap()).unwrap();
    repository.backup(&BackupOptions::default(), &paths, snapshot.unwrap()).unwrap()
}

/// All index files.
pub fn indexes(env: &TestEnv) -> Vec<IndexFile> {
    let repository = open(env);
    let files = repository.stream_files::<IndexFile>().unwrap();
    files.map(|file| file.unwrap().1).collect()
}
