"""A place for compiled loops where neither the installation nor the home can be written."""

import os
import stat
import subprocess
import sys

import pytest

from millrace.schemas import loop_cache

NOWHERE = "/dev/null/nowhere"


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


@pytest.mark.parametrize(("beside", "home"), [(True, False), (False, True), (True, True)])
def test_numbas_own_places_are_left_to_it(tmp_path, beside, home):
    places = [tmp_path / name if good else tmp_path.__class__(NOWHERE) for name, good in (("a", beside), ("b", home))]
    assert loop_cache.needed(*places) is None


def test_a_folder_of_this_user_alone_is_made_and_found_again(temporary, tmp_path):
    nowhere = tmp_path.__class__(NOWHERE)
    place = loop_cache.needed(nowhere, nowhere)
    assert place.parent == temporary and stat.S_IMODE(place.stat().st_mode) == 0o700
    assert loop_cache.needed(nowhere, nowhere) == place


@pytest.mark.parametrize("kind", ["open to others", "link"])
def test_a_folder_that_another_may_have_made_is_not_taken(temporary, tmp_path, kind):
    nowhere, taken = tmp_path.__class__(NOWHERE), temporary / f"millrace-numba-{os.getuid()}"
    if kind == "link":
        (tmp_path / "other").mkdir(mode=0o700)
        taken.symlink_to(tmp_path / "other")
    else:
        taken.mkdir()
        taken.chmod(0o777)
    place = loop_cache.needed(nowhere, nowhere)
    assert place != taken and stat.S_IMODE(place.stat().st_mode) == 0o700


def test_it_is_chosen_before_numba_is_imported(tmp_path):
    script = (
        "import sys; import millrace.schemas; assert 'numba' not in sys.modules; import os; "
        "import millrace.schemas.loop_cache as cache; cache._can_write = lambda folder: False; cache.choose(); "
        "from millrace.schemas.model import key; print(key.__name__)"
    )
    environment = {name: value for name, value in os.environ.items() if name != loop_cache.VARIABLE}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
