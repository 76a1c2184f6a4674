"""What pymobiledevice3 makes of a phone: `usb FOLDER UDID` pairs and asks by usbmuxd, `network ADDRESS FOLDER UDID` asks by the network.

`stay ADDRESS FOLDER UDID SECONDS` is silent for a time, with a heartbeat and without; `locked FOLDER UDID` starts a backup's service with and without the
escrow bag. Prints what it got as JSON. Records are kept in FOLDER.
"""

import asyncio
import json
import plistlib
import sys
from pathlib import Path

from pymobiledevice3 import usbmux
from pymobiledevice3.exceptions import PasswordRequiredError
from pymobiledevice3.lockdown import create_using_tcp, create_using_usbmux
from pymobiledevice3.services.afc import AFC_LOCK_EX, AFC_LOCK_UN, AfcService
from pymobiledevice3.services.heartbeat import HeartbeatService
from pymobiledevice3.services.installation_proxy import InstallationProxyService
from pymobiledevice3.services.notification_proxy import NotificationProxyService
from pymobiledevice3.services.springboard import SpringBoardServicesService


async def files(lockdown):
    """Writes, reads, lists, locks and removes files."""
    async with AfcService(lockdown) as afc:
        await afc.makedirs("/Made/by/it")
        content = bytes(range(256)) * 400
        await afc.set_file_contents("/Made/by/it/file", content)
        handle = await afc.fopen("/com.apple.itunes.lock_sync", "r+")
        await afc.lock(handle, AFC_LOCK_EX)
        await afc.lock(handle, AFC_LOCK_UN)
        await afc.fclose(handle)
        stat = await afc.stat("/Made/by/it/file")
        got = {
            "same": await afc.get_file_contents("/Made/by/it/file") == content,
            "size": stat["st_size"],
            "kind": stat["st_ifmt"],
            "listed": sorted(await afc.listdir("/")),
        }
        await afc.rename("/Made/by/it/file", "/Made/by/it/other")
        got["renamed"] = await afc.listdir("/Made/by/it")
        await afc.rm("/Made")
        got["there"] = await afc.exists("/Made")
        return got


async def notifications(lockdown):
    """Observes a notification, and posts it by another connection."""
    async with NotificationProxyService(lockdown) as observing, NotificationProxyService(lockdown) as posting:
        await observing.notify_register_dispatch("org.example.seen")
        relayed = asyncio.ensure_future(anext(observing.receive_notification()))
        # The second connection may be faster than the first one.
        while not relayed.done():
            await posting.notify_post("org.example.seen")
            await asyncio.wait([relayed], timeout=0.2)
        return {"command": relayed.result().command, "name": relayed.result().name}


async def apps(lockdown):
    """What is installed, and a picture."""
    attributes = ["CFBundleIdentifier", "ApplicationSINF", "iTunesMetadata"]
    async with InstallationProxyService(lockdown) as proxy:
        browsed = await proxy.browse({"ApplicationType": "User"}, attributes)
        names = {bundle: app["CFBundleDisplayName"] for bundle, app in (await proxy.get_apps()).items()}
    async with SpringBoardServicesService(lockdown) as board:
        icon = await board.get_icon_pngdata("org.example.notes")
    return {
        "names": names,
        "users": [app["CFBundleIdentifier"] for app in browsed],
        "metadata": [plistlib.loads(app["iTunesMetadata"])["itemName"] for app in browsed],
        "sinf": [app["ApplicationSINF"].decode() for app in browsed],
        "icon": icon[:8].hex(),
    }


async def services(lockdown):
    """What works by both ways."""
    await HeartbeatService(lockdown).start(interval=0)
    return {
        "udid": lockdown.udid,
        "name": await lockdown.get_value(key="DeviceName"),
        "encrypts": await lockdown.get_value("com.apple.mobile.backup", "WillEncrypt"),
        "files": await files(lockdown),
        "apps": await apps(lockdown),
        "notification": await notifications(lockdown),
    }


async def usb(folder, udid):
    """Pairs, asks, and switches Wi-Fi on."""
    listed = [[device.serial, device.connection_type] for device in await usbmux.list_devices()]
    async with await create_using_usbmux(udid, pairing_records_cache_folder=Path(folder), pair_timeout=20) as lockdown:
        got = await services(lockdown)
        await lockdown.set_value(True, "com.apple.mobile.wireless_lockdown", "EnableWifiConnections")
        got["paired"] = lockdown.paired
    return {"listed": listed, **got}


def record_in(folder, udid):
    """The record of before."""
    return plistlib.loads((Path(folder) / f"{udid}.plist").read_bytes())


async def stay(address, folder, udid, seconds):
    """Whether the phone is still there after a time, with a heartbeat and without."""
    got = []
    for heartbeat in [True, False]:
        async with await create_using_tcp(address, pair_record=record_in(folder, udid), autopair=False) as lockdown:
            beating = asyncio.ensure_future(HeartbeatService(lockdown).start()) if heartbeat else None
            await asyncio.sleep(float(seconds))
            # It would connect anew, and tell nobody.
            session = lockdown.session_id
            await lockdown.get_value(key="DeviceName")
            got.append(lockdown.session_id == session)
            if beating:
                beating.cancel()
    return got


async def locked(folder, udid):
    """Whether a backup's service starts, with the escrow bag and without."""
    got = []
    async with await create_using_usbmux(udid, pairing_records_cache_folder=Path(folder)) as lockdown:
        for bag in [True, False]:
            try:
                await lockdown.get_service_connection_attributes("com.apple.mobilebackup2", bag)
                got.append(True)
            except PasswordRequiredError:
                got.append(False)
    return got


async def network(address, folder, udid):
    """Asks by the network, with the record of before."""
    async with await create_using_tcp(address, pair_record=record_in(folder, udid), autopair=False) as lockdown:
        return await services(lockdown)


print(json.dumps(asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))))
