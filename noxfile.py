"""The demo, and everything that CI runs: `nox --list` names it.

Our own distributions always come from this tree or from `dist/`. The package index has a
single-package line under one of these names, and a check against that would prove nothing.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests", "lint", "types", "core_alone"]

CORE = "fast-channels-core"
REDIS = "fast-channels-redis"
TESTING = "fast-channels-testing"
META = "fast-channels"
PACKAGES = (CORE, TESTING, REDIS, META)
MODULES = ("fast_channels", "fast_channels_redis", "fast_channels_testing")
PYTHONS = ("3.11", "3.12", "3.13")

# What has to be installed from here for a package to be used, itself included.
NEEDS = {
    CORE: (CORE,),
    TESTING: (CORE, TESTING),
    REDIS: (CORE, TESTING, REDIS),
    META: (CORE, TESTING, META),
}
EXTRAS = {CORE: "[encryption]", REDIS: "[hiredis]", TESTING: "[suite]"}

# The releases of redis-py that the Redis layers are tested with, and the tests that depend on it:
# those of many calls, of processes and of time show nothing about it that the others do not.
REDIS_PY = ("==5.0.0", "==5.*", "==6.*", "==7.*", "==8.0.*", "")
REDIS_PY_TESTS = ("test_suite_single.py", "test_options_hosts.py")
REDIS_PY_QUICK = ("-k", "not (model or process or fork or cancel or give_up or expir)")

# What `tests` has shown on every server need not be shown on all of them again.
ON_ONE_SERVER = {"FAST_CHANNELS_REDIS_SERVERS": "valkey"}
QUICK = ("-m", "not slow")

INTEGRATION = "integration-tests"
INTEGRATION_REQUIREMENTS = f"{INTEGRATION}/requirements.txt"
# How servers and browsers behave, which `tests` has shown, depends neither on how we are installed
# nor on the versions of what we require. What builds wheels and installs them needs the sources.
WITHOUT_MANNERS = tuple(
    f"--ignore={INTEGRATION}/test_{name}.py"
    for name in (
        "demo_browser",
        "demo_redis",
        "demo_rooms_browser",
        "demo_showcase_browser",
        "deploying",
        "endings",
        "heartbeat",
        "limits",
        "readme_shell",
        "rejecting_browser",
        "rolling_browser",
        "sse_browser",
        "tutorial",
        "wire_formats",
    )
)
EXAMPLES = "examples"
DOCS = "docs"
BENCHMARKS = "benchmarks"


def tests_of(package: str) -> str:
    return f"packages/{package}/tests"


def editable(packages: Iterable[str], *, extras: bool = True) -> list[str]:
    """The arguments that install `packages` from this tree, all in one call of the installer."""
    return [
        argument
        for package in packages
        for argument in ("-e", f"packages/{package}{EXTRAS.get(package, '') if extras else ''}")
    ]


def group(name: str, pyproject: str = "pyproject.toml") -> list[str]:
    return list(nox.project.dependency_groups(nox.project.load_toml(pyproject), name))


def test_tools(packages: Iterable[str]) -> list[str]:
    """What the packages' own tests require."""
    tools = [group("test", f"packages/{package}/pyproject.toml") for package in packages]
    return sorted({requirement for requirements in tools for requirement in requirements})


def check_origin(session: nox.Session, python: str = "python") -> None:
    """Fail if a distribution of ours was installed from an index."""
    session.run(python, ".ci/own_packages.py", external=True, log=False)


@nox.session(reuse_venv=True)
def demo(session: nox.Session) -> None:
    """Serve the tutorial's application at http://127.0.0.1:8080.

    Its options go after `--`: `-- --redis --workers 2` for Redis and two processes.
    """
    folder = f"{EXAMPLES}/tutorial"
    packages, requirements = [CORE], ["-r", f"{folder}/requirements.txt"]
    if "--redis" in session.posargs or os.environ.get("REDIS_URL"):
        packages.append(REDIS)
        requirements += ["-r", f"{folder}/requirements-redis.txt"]
    session.install(*editable(packages, extras=False), *requirements)
    check_origin(session)
    # nox's own patience after Ctrl+C is 0.3 s; saying goodbye to open tabs may take longer.
    session.run("python", f"{folder}/serve.py", *session.posargs, interrupt_timeout=20)


@nox.session
def tests(session: nox.Session) -> None:
    """Run every package's tests and the integration tests; pytest's options go after `--`."""
    session.install(*editable(PACKAGES), *test_tools(PACKAGES), "-r", INTEGRATION_REQUIREMENTS)
    check_origin(session)
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS)
@nox.parametrize("package", PACKAGES, ids=PACKAGES)
def tests_matrix(session: nox.Session, package: str) -> None:
    """Run one package's tests with only its own dependencies, on every supported Python."""
    session.install(*editable(NEEDS[package]), *test_tools([package]))
    check_origin(session)
    session.run("pytest", tests_of(package), *QUICK, *session.posargs, env=ON_ONE_SERVER)


@nox.session
@nox.parametrize("version", REDIS_PY, ids=[version.strip("=") or "newest" for version in REDIS_PY])
def redis_matrix(session: nox.Session, version: str) -> None:
    """Run the Redis layers on a release of redis-py: RESP2 and RESP3, with and without hiredis."""
    session.install(*editable(NEEDS[REDIS]), *test_tools([REDIS]), f"redis{version}")
    check_origin(session)
    paths = [f"{tests_of(REDIS)}/{name}" for name in REDIS_PY_TESTS]
    # All combinations on the oldest and the newest; each part of them on those between.
    ends = version in (REDIS_PY[0], REDIS_PY[-1])
    for parser, protocols in (
        ("hiredis", "23" if ends else "2"),
        ("Python", "23" if ends else "3"),
    ):
        if parser == "Python":
            session.run("python", "-m", "pip", "uninstall", "-q", "-y", "hiredis")
        for protocol in protocols:
            env = {"FAST_CHANNELS_RESP": protocol, **ON_ONE_SERVER}
            session.run("pytest", "-q", *paths, *REDIS_PY_QUICK, *session.posargs, env=env)


@nox.session
def core_alone(session: nox.Session) -> None:
    """Run core's tests with neither its extra nor any other package of ours."""
    session.install(*editable([CORE], extras=False), *test_tools([CORE]))
    check_origin(session)
    session.run("pytest", tests_of(CORE), *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check all types, that the public ones are complete, and that mistakes are caught."""
    session.install(
        *editable(PACKAGES),
        *test_tools(PACKAGES),
        *group("types"),
        *group("docs"),
        *("-r", INTEGRATION_REQUIREMENTS),
    )
    check_origin(session)
    examples = sorted(
        str(requirements.parent) for requirements in Path(EXAMPLES).glob("*/requirements.txt")
    )
    checks = [
        ["mypy", *(f"packages/{package}/src" for package in PACKAGES if package != META)],
        # One call for each folder: these files are in no package, and folders share file names.
        *(
            ["mypy", folder]
            for folder in (*map(tests_of, PACKAGES), INTEGRATION, *examples, ".ci", DOCS)
        ),
        ["mypy", "noxfile.py", "typing-tests/usage.py", "typing-tests/check.py"],
        ["pyright"],
        *(["pyright", "--ignoreexternal", "--verifytypes", module] for module in MODULES),
        ["python", "typing-tests/check.py"],
    ]
    failed: list[str] = []
    for check in checks:
        try:
            session.run(*check)
        except CommandFailed:  # go on: one run tells all
            failed.append(" ".join(check))
    if failed:
        session.error(f"{len(failed)} of {len(checks)} checks failed: {'; '.join(failed)}")


@nox.session
def wheels(session: nox.Session) -> None:
    """Build everything into dist/, then test the installed wheels away from the sources.

    Package names after `--` limit whose tests run; `--use-dist` takes what is in dist/ already.
    """
    build = "--use-dist" not in session.posargs
    chosen = [argument for argument in session.posargs if argument != "--use-dist"]
    if unknown := set(chosen) - set(PACKAGES):
        session.error(f"expected names of packages or --use-dist, got {sorted(unknown)}")
    if build:
        session.install(*group("build"))
        shutil.rmtree("dist", ignore_errors=True)
        session.run("hatch", "build", "--all")

    tested = chosen or PACKAGES
    needed = [package for package in PACKAGES if any(package in NEEDS[each] for each in tested)]
    with tempfile.TemporaryDirectory(prefix="fast-channels-wheels-") as temporary:
        away = Path(temporary)
        # Not the session's environment: that one has hatch and all that hatch needs.
        session.run("python", "-m", "venv", str(away / "venv"))
        python = python_of(away / "venv")
        requirements = [*map(wheel_of, needed), *test_tools(tested)]
        if not chosen:
            requirements += ["-r", INTEGRATION_REQUIREMENTS]
        session.run(python, "-m", "pip", "install", "-q", *requirements, external=True)
        check_origin(session, python)
        paths = copy_tests(away, tested, integration=not chosen)
        with session.chdir(away):
            options = (*QUICK, *WITHOUT_MANNERS)
            session.run(python, "-m", "pytest", *options, *paths, env=ON_ONE_SERVER, external=True)


def python_of(environment: Path) -> str:
    return str(environment / ("Scripts" if sys.platform == "win32" else "bin") / "python")


def wheel_of(package: str) -> str:
    found = list(Path("dist").glob(f"{package.replace('-', '_')}-[0-9]*.whl"))
    if len(found) != 1:
        raise FileNotFoundError(f"expected one wheel of {package} in dist/, found {found}")
    return f"{found[0]}{EXTRAS.get(package, '')}"


def copy_tests(target: Path, packages: Collection[str], *, integration: bool) -> list[str]:
    """Copy tests and what they read to `target`, without any src/; return what pytest is to run."""
    ignore = shutil.ignore_patterns("src", "__pycache__", "artifacts")
    for file in ("pyproject.toml", "docker-compose.yml", *map(str, Path().glob("*.md"))):
        shutil.copy(file, target)
    for package in packages:
        shutil.copytree(f"packages/{package}", target / "packages" / package, ignore=ignore)
    paths = [tests_of(package) for package in packages]
    if integration:
        for folder in (INTEGRATION, EXAMPLES, DOCS, BENCHMARKS):
            shutil.copytree(folder, target / folder, ignore=ignore)
        paths.append(INTEGRATION)
    return paths


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that the requirements allow."""
    session.install("uv>=0.8")
    packages = [*editable(PACKAGES), *test_tools(PACKAGES)]
    # First by themselves: what the servers require raises the versions of what we require.
    for requirements, folders in (
        (packages, list(map(tests_of, PACKAGES))),
        ([*packages, "-r", INTEGRATION_REQUIREMENTS], [INTEGRATION]),
    ):
        session.run("uv", "pip", "install", "--resolution", "lowest-direct", *requirements)
        check_origin(session)
        # What we require is old here and what that requires is new: they deprecate each other.
        options = ("-W", "default::DeprecationWarning", *QUICK, *WITHOUT_MANNERS)
        session.run("pytest", *options, *folders, *session.posargs, env=ON_ONE_SERVER)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into build/docs/; `-- --serve` shows it and rebuilds what changes."""
    session.install(*editable(PACKAGES), *group("docs"))
    check_origin(session)
    serve = "--serve" in session.posargs
    options = [argument for argument in session.posargs if argument != "--serve"]
    options += ["-n", "-b", "html", "-d", "build/doctrees", DOCS, "build/docs"]
    if serve:
        # It listens on 127.0.0.1, at port 8000 unless `--port` says another.
        watched = (argument for path in ("packages", EXAMPLES) for argument in ("--watch", path))
        session.run("sphinx-autobuild", *watched, *options, interrupt_timeout=8)
    else:
        # Nothing is left over of pages that are gone, and links to them are found.
        shutil.rmtree("build/docs", ignore_errors=True)
        session.run("sphinx-build", "-W", "--keep-going", "-E", *options)


@nox.session
def soak(session: nox.Session) -> None:
    """End connections by the hundred thousand, in every way, and count what is left of them.

    Names of layers and servers go after `--`, and other options: `-- --help`.
    """
    tools = test_tools([CORE, REDIS])
    session.install(*editable([CORE, REDIS]), *tools, "-r", INTEGRATION_REQUIREMENTS)
    check_origin(session)
    session.run("python", "-m", "soak", *session.posargs, env={"PYTHONPATH": INTEGRATION})


@nox.session
def bench(session: nox.Session) -> None:
    """Measure beside the reference implementation; names of benchmarks go after `--`."""
    packages = editable([CORE, REDIS], extras=False)
    session.install(*packages, "-r", f"{BENCHMARKS}/requirements.txt")
    check_origin(session)
    # The reference has the same import name, so it gets an environment of its own.
    environment = Path(session.create_tmp()) / "reference"
    session.run("python", "-m", "venv", "--clear", str(environment))
    reference = python_of(environment)
    requirements = f"{BENCHMARKS}/reference.txt"
    session.run(reference, "-m", "pip", "install", "-q", "-r", requirements, external=True)
    session.run("python", "-m", "benchmarks", "--reference", reference, *session.posargs)
