"""Makes a MobileSync folder: make.py DIRECTORY < SPECIFICATION.

Written by what is publicly known of the format and with the package `cryptography`, apart from holdall: an encrypted folder of it is read by
iphone_backup_decrypt as well. The specification is JSON: `password`, `files` and, for what no device would write, `sql`.
"""

import base64
import hashlib
import json
import os
import plistlib
import sqlite3
import struct
import sys
import uuid
from pathlib import Path

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

FLAGS = {"file": 1, "directory": 2, "link": 4}
TYPES = {"file": 0o100000, "directory": 0o040000, "link": 0o120000}
CLASS = 3


def encipher(key, content):
    padder = padding.PKCS7(128).padder()
    filled = padder.update(content) + padder.finalize()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
    return encryptor.update(filled) + encryptor.finalize()


class Keys:
    """A keybag with three classes, one of which only the device could open."""

    def __init__(self, password, has_first_round):
        salt, first_salt = os.urandom(20), os.urandom(20)
        iterations, first_iterations = 1000, 2000
        secret = password.encode()
        if has_first_round:
            secret = hashlib.pbkdf2_hmac("sha256", secret, first_salt, first_iterations, 32)
        secret = hashlib.pbkdf2_hmac("sha1", secret, salt, iterations, 32)

        def tagged(tag, value):
            value = struct.pack(">L", value) if isinstance(value, int) else value
            return tag + struct.pack(">L", len(value)) + value

        bag = tagged(b"VERS", 5) + tagged(b"TYPE", 1) + tagged(b"UUID", uuid.uuid4().bytes)
        bag += tagged(b"HMCK", os.urandom(40)) + tagged(b"WRAP", 0) + tagged(b"SALT", salt) + tagged(b"ITER", iterations)
        if has_first_round:
            bag += tagged(b"DPWT", 0) + tagged(b"DPIC", first_iterations) + tagged(b"DPSL", first_salt)
        self.classes = {number: os.urandom(32) for number in (1, CLASS, 11)}
        for number, key in self.classes.items():
            wrap, wrapped = (1, os.urandom(40)) if number == 11 else (2, aes_key_wrap(secret, key))
            bag += tagged(b"UUID", uuid.uuid4().bytes) + tagged(b"CLAS", number) + tagged(b"WRAP", wrap)
            bag += tagged(b"KTYP", 0) + tagged(b"WPKY", wrapped)
        self.bag = bag

    def new(self, number):
        """A key for one file, and the key as a record holds it."""
        key = os.urandom(32)
        return key, struct.pack("<l", number) + aes_key_wrap(self.classes[number], key)


def archive(file, size, wrapped):
    """An MBFile as NSKeyedArchiver writes it."""
    objects = ["$null", None]

    def put(value):
        objects.append(value)
        return plistlib.UID(len(objects) - 1)

    kind = file.get("kind", "file")
    root = {
        "LastModified": file.get("mtime", 1700000000),
        "LastStatusChange": file.get("mtime", 1700000000),
        "Birth": file.get("mtime", 1700000000),
        "Flags": 0,
        "GroupID": 501,
        "UserID": 501,
        "InodeNumber": 4711,
        "Size": file.get("size", size),
        "Mode": TYPES[kind] | file.get("mode", 0o644),
        "ProtectionClass": CLASS if wrapped else 0,
        "RelativePath": put(file["path"]),
    }
    if "target" in file:
        root["Target"] = put(file["target"])
    if wrapped:
        root["EncryptionKey"] = put({"$class": put({"$classname": "NSMutableData", "$classes": ["NSMutableData", "NSData", "NSObject"]}), "NS.data": wrapped})
    root["$class"] = put({"$classname": "MBFile", "$classes": ["MBFile", "NSObject"]})
    objects[1] = root
    return plistlib.dumps(
        {"$version": 100000, "$archiver": "NSKeyedArchiver", "$top": {"root": plistlib.UID(1)}, "$objects": objects},
        fmt=plistlib.FMT_BINARY,
    )


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    wanted = json.load(sys.stdin)
    password = wanted.get("password")
    keys = Keys(password, not wanted.get("old", False)) if password else None
    database = sqlite3.connect(folder / "Manifest.db")
    database.execute("CREATE TABLE Files (fileID TEXT PRIMARY KEY, domain TEXT, relativePath TEXT, flags INTEGER, file BLOB)")
    database.execute("CREATE INDEX FilesDomainIdx ON Files(domain)")
    database.execute("CREATE INDEX FilesRelativePathIdx ON Files(relativePath)")
    database.execute("CREATE TABLE Properties (key TEXT PRIMARY KEY, value BLOB)")
    for file in wanted["files"]:
        kind = file.get("kind", "file")
        content = base64.b64decode(file["base64"]) if "base64" in file else file.get("text", "").encode()
        name = f'{file["domain"]}-{file["path"]}{file.get("salt", "")}'
        number = file.get("id", hashlib.sha1(name.encode()).hexdigest())
        wrapped = None
        if kind == "file" and file.get("body", True):
            stored = content
            if keys and content:
                key, wrapped = keys.new(CLASS)
                stored = encipher(key, content)
            (folder / number[:2]).mkdir(exist_ok=True)
            (folder / number[:2] / number).write_bytes(stored)
        values = (number, file["domain"], file["path"], FLAGS[kind], archive(file, len(content), wrapped))
        database.execute("INSERT INTO Files VALUES (?, ?, ?, ?, ?)", values)
    for statement in wanted.get("sql", []):
        database.execute(statement)
    database.commit()
    database.close()
    manifest = {"Version": "10.0", "IsEncrypted": bool(keys), "WasPasscodeSet": True, "Applications": {}, "Lockdown": {}}
    if keys:
        manifest["BackupKeyBag"] = keys.bag
        if not wanted.get("old", False):
            key, manifest["ManifestKey"] = keys.new(1)
            path = folder / "Manifest.db"
            path.write_bytes(encipher(key, path.read_bytes()))
    form = plistlib.FMT_XML if wanted.get("xml", False) else plistlib.FMT_BINARY
    (folder / "Manifest.plist").write_bytes(plistlib.dumps(manifest, fmt=form))
    status = {"BackupState": "new", "SnapshotState": "finished", "IsFullBackup": True, "Version": "3.3", "UUID": str(uuid.uuid4())}
    (folder / "Status.plist").write_bytes(plistlib.dumps(status, fmt=plistlib.FMT_BINARY))
    (folder / "Info.plist").write_bytes(plistlib.dumps({"Device Name": "Anna's iPhone", "Unique Identifier": folder.name}))


main()
