"""A dozen properties of every VM with one collector call of pyVmomi, as JSON lines.

pyvmomi.py HOST PORT USER PASSWORD-FILE
"""

# This file bears the library's name: its own folder must not be looked at for it.
import sys

sys.path.pop(0)

import json

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl

PROPERTIES = [
    "name",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.host",
    "summary.config.numCpu",
    "summary.config.memorySizeMB",
    "summary.config.guestFullName",
    "summary.config.uuid",
    "summary.config.instanceUuid",
    "summary.config.vmPathName",
    "guest.toolsRunningStatus",
    "summary.storage.committed",
]


def main():
    host, port, user, password_file = sys.argv[1:5]
    with open(password_file, encoding="utf-8") as file:
        password = file.read().strip()
    server = SmartConnect(
        host=host, port=int(port), user=user, pwd=password, disableSslCertValidation=True
    )
    try:
        collector = server.content.propertyCollector
        view = server.content.viewManager.CreateContainerView(
            server.content.rootFolder, [vim.VirtualMachine], True
        )
        query = vmodl.query.PropertyCollector
        spec = query.FilterSpec(
            propSet=[query.PropertySpec(type=vim.VirtualMachine, pathSet=PROPERTIES)],
            objectSet=[
                query.ObjectSpec(
                    obj=view,
                    skip=True,
                    selectSet=[
                        query.TraversalSpec(
                            name="view", type=vim.view.ContainerView, path="view", skip=False
                        )
                    ],
                )
            ],
        )
        count = 0
        page = collector.RetrievePropertiesEx([spec], query.RetrieveOptions())
        while page:
            for found in page.objects:
                row = {p.name: as_text(p.val) for p in found.propSet}
                row["moref"] = found.obj._moId
                print(json.dumps(row))
                count += 1
            if not page.token:
                break
            page = collector.ContinueRetrievePropertiesEx(page.token)
        view.DestroyView()
    finally:
        Disconnect(server)
    print(f"{count} objects", file=sys.stderr)


def as_text(value):
    return value._moId if hasattr(value, "_moId") else str(value)


main()
