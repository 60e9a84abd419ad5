from datetime import date

import pytest

from supply_chain import audit, lock, sbom


def package(name, *ids, fix=("2.0",)):
    vulnerabilities = [{"id": one, "aliases": [], "fix_versions": list(fix)} for one in ids]
    return {"name": name, "version": "1.0", "vulns": vulnerabilities}


SKIPPED = {"name": "unknown", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("dependencies", "code", "line"),
    [
        ([package("a"), package("b")], audit.CLEAN, "2 packages audited, 0 open vulnerabilities"),
        ([package("a", "CVE-1")], audit.VULNERABLE, "a 1.0: CVE-1; fixed in 2.0"),
        ([package("a", "CVE-1", fix=())], audit.VULNERABLE, "fixed in no version yet"),
        ([package("a", "CVE-1"), SKIPPED], audit.VULNERABLE, "1 packages audited, 1 open"),
        ([package("a", "CVE-2")], audit.CLEAN, "a 1.0: CVE-2; accepted: not reachable"),
        ([package("a"), SKIPPED], audit.NOT_AUDITED, "does not know 1 of 2 packages"),
        ([SKIPPED], audit.NOT_AUDITED, "NOT AUDITED"),
        ([], audit.NOT_AUDITED, "NOT AUDITED"),
    ],
)
def test_audit_succeeds_only_if_the_feed_knew_every_package(dependencies, code, line):
    found, lines = audit.judge({"dependencies": dependencies}, {"CVE-2": "not reachable"})
    assert found == code
    assert line in "\n".join(lines)


def test_vulnerability_is_accepted_by_an_alias():
    affected = package("a", "PYSEC-1")
    affected["vulns"][0]["aliases"] = ["CVE-2"]
    assert audit.judge({"dependencies": [affected]}, {"CVE-2": "why"})[0] == audit.CLEAN


def test_silent_feed_is_not_a_success():
    code, (line,) = audit.judge(None, {})
    assert code == audit.NOT_AUDITED and "NOT AUDITED" in line


def test_acceptance_expires():
    entry = {"reason": "why", "until": date(2026, 12, 31)}
    project = {"tool": {"rebalancer": {"audit": {"CVE-1": entry}}}}
    assert audit.accepted_on(project, date(2026, 12, 31)) == {"CVE-1": "why"}
    assert audit.accepted_on(project, date(2027, 1, 1)) == {}


def test_accepted_vulnerabilities_have_a_reason():
    assert all(audit.accepted_on(lock.read_project(), date.min).values())


LOCKED = f"a-b==1.0 \\\n    --hash=sha256:{'0' * 64}\n"
FEED = """#!/bin/sh
for each; do case $each in --output=*) output=${each#*=};; *.txt) asked=$each;; esac; done
echo $(grep -c == $asked) >> asked.log
"""


@pytest.mark.parametrize(
    ("answer", "report", "asked"),
    [
        ("echo '{\"dependencies\": []}' > $output", {"dependencies": []}, "1\n2\n"),
        ('echo \'{"dependencies": [{"skip_reason": ""}]}\' > $output', None, "1\n"),
        ("echo no route to the feed >&2; exit 1", None, "1\n"),
    ],
)
def test_feed_is_asked_about_all_packages_if_it_knows_one(
    tmp_path, monkeypatch, answer, report, asked
):
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "pip-audit"
    program.write_text(f"{FEED}{answer}\n", encoding="utf-8")
    program.chmod(0o755)
    more = LOCKED.replace("a-b", "c")
    assert audit.ask(str(program), f"# a comment\n{LOCKED}{more}") == report
    assert (tmp_path / "asked.log").read_text() == asked


def bom(**component):
    listed = {"name": "A_b", "version": "1.0", "bom-ref": "a-b", **component}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "components": [listed],
        "dependencies": [{"ref": "a-b"}],
    }


@pytest.mark.parametrize(
    ("listed", "problem"),
    [
        (bom(version="1.1"), "a-b 1.1 is not the locked version"),
        (bom(name="c"), "c 1.0 is not the locked version"),
        ({**bom(), "dependencies": []}, "a-b has no entry among the dependencies"),
        ({**bom(), "components": []}, "there are no components"),
        ({**bom(), "specVersion": "1.2"}, "the format is not CycloneDX 1.6"),
    ],
)
def test_component_that_differs_from_the_lock_file_is_a_problem(listed, problem):
    assert sbom.problems(listed, LOCKED) == [problem]


def test_list_of_locked_components_is_accepted():
    assert sbom.problems(bom(), LOCKED) == []
