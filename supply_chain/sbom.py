"""Check a list of components (CycloneDX) against the lock file.

``python -m supply_chain.sbom FILE`` fails if a component is not the locked version, if one appears
in no relation, or if the list is empty.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supply_chain.lock import LOCK, pins_of


def problems(bom: Mapping[str, Any], lock: str) -> list[str]:
    """Return what is wrong with a list of components, a sentence each."""
    locked = {pin.partition(" ")[0] for pin in pins_of(lock)}
    components = bom.get("components", [])
    found = [] if components else ["there are no components"]
    if (bom.get("bomFormat"), bom.get("specVersion")) != ("CycloneDX", "1.6"):
        found.append("the format is not CycloneDX 1.6")
    related = {each["ref"] for each in bom.get("dependencies", [])}
    for component in components:
        name = re.sub(r"[-_.]+", "-", component["name"]).lower()
        if f"{name}=={component['version']}" not in locked:
            found.append(f"{name} {component['version']} is not the locked version")
        if component["bom-ref"] not in related:
            found.append(f"{name} has no entry among the dependencies")
    return found


def main() -> int:
    """Check the given file; return 1 if something is wrong."""
    path = Path(sys.argv[1])
    bom = json.loads(path.read_text(encoding="utf-8"))
    found = problems(bom, LOCK.read_text(encoding="utf-8"))
    for problem in found:
        print(f"{path}: {problem}", file=sys.stderr)
    if not found:
        print(f"{path}: {len(bom['components'])} components, all of locked versions")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
