"""A mail server for tests: aiosmtpd, told by a JSON file what to be and whom to refuse.

Each mail that it takes becomes a line of JSON: the envelope, and the message as Python's own library reads it.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

with open(sys.argv[1], encoding="utf-8") as file:
    settings = json.load(file)


class Handler:
    """Takes mail, but not for everybody, and not at once."""

    def __init__(self):
        self.busy = settings["busy"]

    async def handle_MAIL(self, server, session, envelope, address, options):
        if self.busy > 0:
            self.busy -= 1
            return "451 try again later"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in settings["refused"]:
            return "550 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        line = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "user": session.auth_data,
            "encrypted": session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None,
            "headers": [[name, str(value)] for name, value in message.items()],
            "type": message.get_content_type(),
            "charset": message.get_content_charset(),
            "defects": [str(defect) for defect in message.defects],
            "longest_line": max(len(line) for line in envelope.original_content.split(b"\r\n")),
            "body": message.get_content().replace("\r\n", "\n"),
        }
        with open(settings["mails"], "a", encoding="utf-8") as mails:
            mails.write(json.dumps(line) + "\n")
        return "250 OK"


def authenticate(server, session, envelope, mechanism, login):
    user, password = login.login.decode(), login.password.decode()
    is_known = [user, password] == [settings["user"], settings["password"]]
    return AuthResult(success=is_known, handled=False, auth_data=user if is_known else None)


async def main():
    handler = Handler()
    context = None
    if settings["tls"] != "never":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings["certificate"], settings["key"])
    is_started = settings["tls"] == "started"

    def session():
        return SMTP(
            handler,
            tls_context=context if is_started else None,
            require_starttls=is_started,
            authenticator=authenticate,
            auth_required=settings["user"] is not None,
            auth_require_tls=is_started,
            enable_SMTPUTF8=True,
        )

    wrapped = context if settings["tls"] == "wrapped" else None
    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", settings["port"], ssl=wrapped)
    await server.serve_forever()


asyncio.run(main())
