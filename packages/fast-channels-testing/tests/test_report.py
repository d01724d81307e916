"""``python -m fast_channels_testing report``, on suites of a project of its own."""

import json
import sys
from typing import Any

import pytest

from fast_channels_testing._report import main

pytest_plugins = ["pytester"]

LAYER = """
from fast_channels.layers import InMemoryChannelLayer


class MyLayer(InMemoryChannelLayer):
    pass
"""

CONFTEST = """
import pytest
from my_package.layer import MyLayer


@pytest.fixture
def layer_class():
    return MyLayer
"""

INI = """
[pytest]
filterwarnings = error
asyncio_default_fixture_loop_scope = function
"""

# Small tiers instead of the real ones, which take their time.
SUITES = """
import pytest

from fast_channels_testing.layers import SUPPORTED, Capabilities, Layers, NotSupported
from fast_channels_testing.layers._base import SuiteBase, layer_test


class SmallSuite(SuiteBase):
    @pytest.fixture
    def make_layer(self, layer_class):
        return layer_class

    @layer_test("groups")
    async def test_of_groups(self, layers: Layers) -> None:
        layers.make()

    @layer_test("core")
    async def test_of_every_layer(self, layers: Layers) -> None:
        layers.make()

    @layer_test("core", needs="general_channels")
    async def test_of_general_channels(self, layers: Layers) -> None:
        layers.make()

    @layer_test("scale-out", needs="processes")
    async def test_of_processes(self, layers: Layers) -> None:
        raise RuntimeError("this layer is | alone")

    @layer_test("scale-out", needs=("processes", "remote_members"))
    async def test_of_remote_members(self, layers: Layers) -> None:
        raise RuntimeError("this layer is alone, too")


class TestGood(SmallSuite):
    capabilities = Capabilities(
        general_channels=SUPPORTED, processes=NotSupported("it has | no broker")
    )


class TestNotDeclared(SmallSuite):
    def test_of_its_own(self) -> None:
        raise AssertionError("which the report does not run")


class TestBad(SmallSuite):
    capabilities = Capabilities(general_channels=SUPPORTED, processes=SUPPORTED)


class TestExpected(TestBad):
    @pytest.mark.xfail(reason="not yet", strict=True)
    def test_of_processes(self, layers: Layers) -> None:
        super().test_of_processes(layers)


class TestSkipped(SmallSuite):
    capabilities = Capabilities(general_channels=SUPPORTED)

    @pytest.fixture
    def make_layer(self):
        pytest.skip("no broker is installed")


class TestBroken(SmallSuite):
    @pytest.fixture
    def make_layer(self):
        yield None
        raise OSError("the fixture broke")


class TestOther:
    def test_it(self) -> None: ...
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    package = pytester.mkpydir("my_package")
    (package / "layer.py").write_text(LAYER)
    (package / "conftest.py").write_text(CONFTEST)
    (package / "suites.py").write_text(SUITES)
    pytester.makeini(
        "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope=function"
    )
    return pytester


def report(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.run(sys.executable, "-m", "fast_channels_testing", "report", *arguments)


def as_json(project: pytest.Pytester, *arguments: str) -> tuple[int, dict[str, Any]]:
    result = report(project, "--format", "json", *arguments)
    return int(result.ret), json.loads(result.stdout.str())


def states(rows: dict[str, Any]) -> dict[str, str]:
    return {name: row["state"] for name, row in rows.items() if row["state"] != "not tested"}


def test_the_matrix_has_a_column_for_each_suite(project: pytest.Pytester) -> None:
    result = report(project, "my_package.suites:TestGood", "my_package/suites.py::TestBad")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "|  | `TestGood` | `TestBad` |",
            "|---|---|---|",
            "| layer | `MyLayer` | `MyLayer` |",
            "| [*][*]core[*][*] | passed (2) | passed (2) |",
            "| [*][*]groups[*][*] | passed (1) | passed (1) |",
            "| [*][*]scale-out[*][*] | not tested* | [*][*]FAILED[*][*] (1 of 1) |",
            "| general_channels | supported (1) | supported (1) |",
            r"| remote_members | not tested* | undeclared, fails (1 of 1) |",
            r"| processes | not supported: it has \| no broker | [*][*]FAILED[*][*] (1 of 1) |",
            "Failed in `my_package/suites.py::TestBad`:",
            "- `test_of_processes`: RuntimeError: this layer is \\| alone",
            "Python *, fast-channels-core *, fast-channels-testing *",
        ]
    )
    # What pytest says does not get into the report.
    assert result.outlines[0].startswith("|")
    result.stderr.fnmatch_lines(["*test session starts*"])


def test_the_same_for_programs(project: pytest.Pytester) -> None:
    names = ["TestGood", "TestNotDeclared", "TestExpected", "TestSkipped"]
    status, document = as_json(project, *(f"my_package.suites:{name}" for name in names))
    assert status == 0
    assert document["format"] == 1
    assert document["versions"]["Python"] == sys.version.split()[0]
    good, not_declared, expected, skipped = document["suites"]

    assert good["suite"] == "my_package.suites:TestGood"
    assert good["passed"] is not_declared["passed"] is True
    assert good["layers"] == [
        {"class": "my_package.layer.MyLayer", "distribution": None, "version": None}
    ]
    assert states(good["tiers"]) == {"core": "passed", "groups": "passed"}
    assert good["capabilities"]["processes"] == {
        "state": "not supported",
        "reason": "it has | no broker",
        "tests": 0,
        "failed": [],
    }
    assert good["failed"] == good["expected_failures"] == {}

    assert states(not_declared["capabilities"]) == {
        "general_channels": "undeclared, passes",
        "processes": "undeclared, fails",
        "remote_members": "undeclared, fails",
    }
    assert expected["capabilities"]["processes"]["state"] == "supported"
    assert expected["expected_failures"] == {"test_of_processes": "not yet"}
    assert states(skipped["capabilities"]) == states(skipped["tiers"]) == {}
    assert skipped["capabilities"]["general_channels"]["reason"] == "no broker is installed"


def test_a_fixture_that_breaks_is_a_failure(project: pytest.Pytester) -> None:
    status, document = as_json(project, "my_package.suites:TestBroken", "--", "-k", "remote")
    assert status == 1
    assert document["suites"][0]["failed"] == {
        "test_of_remote_members": "in teardown: OSError: the fixture broke"
    }


def test_a_project_that_stops_at_the_first_failure_gets_a_whole_report(
    project: pytest.Pytester,
) -> None:
    project.makeini(f"{INI}\naddopts = -x")
    status, document = as_json(project, "my_package.suites:TestBad")
    assert status == 1
    assert list(document["suites"][0]["failed"]) == ["test_of_processes"]
    assert document["suites"][0]["capabilities"]["remote_members"]["tests"] == 1


@pytest.mark.parametrize(
    ("suite", "says"),
    [
        ("my_package", "'my_package' names no suite, expected a module or a file and a class"),
        ("my_package.gone:TestIt", "there is no module 'my_package.gone' on Python's path"),
        ("gone.suites:TestIt", "a package of 'gone.suites' cannot be imported: ModuleNotFound"),
        ("tests/gone.py:TestIt", "there is no file 'tests/gone.py' in"),
    ],
)
def test_a_suite_that_is_not_there(
    project: pytest.Pytester, capsys: pytest.CaptureFixture[str], suite: str, says: str
) -> None:
    project.syspathinsert()
    assert main(["report", suite]) == 2
    out, err = capsys.readouterr()
    assert (out, err[:7]) == ("", "error: ")
    assert says in err


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("TestGone", "pytest found no tests in *suites.py::TestGone"),
        ("TestOther", "TestOther is not derived from *ChannelLayerSuite"),
    ],
)
def test_a_class_that_is_no_suite(project: pytest.Pytester, name: str, says: str) -> None:
    result = report(project, f"my_package.suites:{name}")
    assert result.ret == 2
    assert result.outlines == []
    result.stderr.fnmatch_lines([f"error: *{says}*"])


def test_a_file_that_does_not_import(project: pytest.Pytester) -> None:
    project.makepyfile(broken="import nothing_of_that_name")
    result = report(project, "broken:TestIt")
    assert result.ret == 2
    result.stderr.fnmatch_lines(["*No module named 'nothing_of_that_name'*", "error: *broken*"])


@pytest.mark.parametrize("name", ["pytest", "hypothesis"])
def test_what_is_not_installed_is_named(
    project: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    project.syspathinsert()
    monkeypatch.setitem(sys.modules, name, None)  # as if it were missing
    assert main(["report", "my_package.suites:TestGood"]) == 2
    _, err = capsys.readouterr()
    assert err == f"error: {name} is not installed; install fast-channels-testing[suite]\n"


def test_the_suite_says_which_extra_it_needs(project: pytest.Pytester) -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import fast_channels_testing.layers"
    result = project.run(sys.executable, "-c", code)
    assert "The conformance suite needs the extra fast-channels-testing[suite]." in result.errlines
