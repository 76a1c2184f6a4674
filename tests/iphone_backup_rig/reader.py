"""Opens an encrypted backup with iphone_backup_decrypt: FOLDER, and the password on standard input.

Writes a line for each file: its SHA-1, its domain and its path, as JSON.
"""

import hashlib
import json
import sys

from iphone_backup_decrypt import EncryptedBackup

backup = EncryptedBackup(backup_directory=sys.argv[1], passphrase=sys.stdin.read())
with backup.manifest_db_cursor() as cursor:
    cursor.execute("SELECT domain, relativePath FROM Files WHERE flags = 1 ORDER BY domain, relativePath")
    rows = cursor.fetchall()
for domain, path in rows:
    content = backup.extract_file_as_bytes(path, domain_like=domain)
    print(json.dumps([hashlib.sha1(content).hexdigest(), domain, path]))
