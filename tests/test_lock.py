import copy
import re

import pytest

from supply_chain import lock

PROJECT = lock.read_project()
TEXT = lock.LOCK.read_text(encoding="utf-8")
CPU_BUILDS = lock.CPU_BUILDS.read_text(encoding="utf-8")
MAKEFILE = (lock.ROOT / "Makefile").read_text(encoding="utf-8")


def test_lock_file_matches_the_declared_dependencies():
    assert lock.problems(TEXT, PROJECT) == []
    assert lock.build_problems(CPU_BUILDS, TEXT) == []


def test_lock_file_omits_addresses_and_folders():
    for text in (TEXT, CPU_BUILDS):
        pins = [line for line in text.splitlines() if not line.startswith("#")]
        assert not [line for line in pins if re.search(r"//|@|file:|--index|--find-links", line)]


def declare(project, requirement):
    project["project"]["dependencies"].append(requirement)


@pytest.mark.parametrize(
    "change",
    [
        lambda project: declare(project, "left-pad>=1"),
        lambda project: project["project"]["optional-dependencies"]["servers"].pop(),
        lambda project: project["dependency-groups"]["build"].append("wheel>=1"),
        lambda project: project["project"].update({"requires-python": ">=3.12"}),
    ],
)
def test_changed_declaration_needs_a_new_lock_file(change):
    changed = copy.deepcopy(PROJECT)
    change(changed)
    (problem,) = lock.problems(TEXT, changed)
    assert problem.endswith("run make lock")


def test_order_of_declarations_and_unlocked_extras_do_not_matter():
    changed = copy.deepcopy(PROJECT)
    changed["project"]["dependencies"].reverse()
    changed["project"]["optional-dependencies"]["bench"].append("left-pad>=1")
    assert lock.problems(TEXT, changed) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("left-pad==1.0", "neither a pinned version nor a hash"),
        ("left-pad>=1.0 \\", "neither a pinned version nor a hash"),
        ("left-pad @ file:///tmp/left-pad.whl", "neither a pinned version nor a hash"),
        ("--index-url=https://example.org/simple", "neither a pinned version nor a hash"),
        ("left-pad==1.0 \\", "left-pad==1.0 has no hash"),
        (f"left-pad==1.0+cpu \\\n    --hash=sha256:{'0' * 64}", "is a build of one machine"),
    ],
)
def test_line_that_is_not_a_hashed_pin_is_a_problem(line, problem):
    (found,) = lock.problems(f"{TEXT}{line}\n", PROJECT)
    assert problem in found


def test_cpu_build_of_another_version_is_a_problem():
    (problem,) = lock.build_problems(CPU_BUILDS.replace("torch==", "torch==1"), TEXT)
    assert "torch==1" in problem


def test_every_installation_uses_the_lock_file():
    recipes = re.findall(r"^\t.*\$\((?:INSTALL|UV)\).*", MAKEFILE, re.MULTILINE)
    assert len(recipes) == 5
    assert all("$(LOCKED)" in line or "$(WITH_TORCH)" in line for line in recipes), recipes


def test_ranges_without_a_lock_file_are_those_of_the_project():
    declared = [*PROJECT["dependency-groups"]["build"]]
    declared += PROJECT["project"]["optional-dependencies"]["train"]
    used = re.findall(r"\$\(PIP\) '([^']+)'", MAKEFILE)
    assert len(used) == 2
    assert set(used) <= set(declared)
