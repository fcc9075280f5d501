"""Settings: flags over environment over file; every fault named at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.live.embedded.distribution import NAMED_BY
from orchestrator.live.settings import Settings, SettingsError, load_settings, told_unread, unread
from orchestrator.spelling import misspelt
from workers.cli import READ


def test_flags_beat_environment_beat_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest voice wins; what nobody says has its default."""
    file = tmp_path / "orchestrator.toml"
    file.write_text('lease_s = 10\nbacklog_max = 1000\nordering = "fifo"\n')
    monkeypatch.setenv("ORCHESTRATOR_BACKLOG_MAX", "2000")
    settings = load_settings(file, ordering="priority", placement=None)
    assert (settings.lease_s, settings.backlog_max, settings.ordering, settings.placement) == (10, 2000, "priority", "least_loaded")
    assert settings.core.lease_ns == 10_000_000_000


def test_the_log_level_may_be_written_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    """As workers take it, who read the same variable."""
    monkeypatch.setenv("ORCHESTRATOR_LOG_LEVEL", "DEBUG")
    assert load_settings().log_level == "debug"


def test_all_faults_are_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three mistakes in three places: one error that names all of them."""
    file = tmp_path / "orchestrator.toml"
    file.write_text("leese_s = 10\n")
    monkeypatch.setenv("ORCHESTRATOR_LEASE_S", "0.1")
    with pytest.raises(SettingsError) as fault:
        load_settings(file, broker="http://here", ordering="sfj")
    assert "leese_s: there is no such setting; is lease_s meant? (got 10)" in str(fault.value)
    for word in ("lease_s", "broker", "ordering", "fifo, priority", "nothing was started"):
        assert word in str(fault.value)
    monkeypatch.undo()
    with pytest.raises(SettingsError, match="  shard: there is no shard 'gpu'; there are: default"):
        load_settings(None, shard="gpu")


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    """A --config that does not exist, or is no TOML, stops the start with its name."""
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings(tmp_path / "nowhere.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("= what?")
    with pytest.raises(SettingsError, match=r"broken\.toml"):
        load_settings(broken)


def test_the_reserve_leaves_room_in_a_small_ledger() -> None:
    """R12: what is kept free for carrying forward never exceeds half the cap."""
    for size in (64 * 1024**2, 2 * 1024**3, 1024**4):
        core = load_settings(None, ledger_bytes_max=size).core
        assert core.reserve_bytes <= core.ledger_bytes_max // 2


def test_policies_with_settings_for_all_and_for_one_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same specs everywhere: file, environment, flags; what is kept is their normal form."""
    file = tmp_path / "orchestrator.toml"
    file.write_text('ordering = "sjf:ageing=600"\n[services.thumbs]\nordering = "dps:size=2"\nplacement = "random"\n')
    assert load_settings(file).specs == {
        "ordering": "sjf:ageing=10m", "placement": "least_loaded", "allocation": "msa",
        "thumbs/ordering": "dps:size=2", "thumbs/placement": "random",
    }  # fmt: skip
    monkeypatch.setenv("ORCHESTRATOR_SERVICES", '{"mail": {"allocation": "mra"}}')
    assert load_settings(None, ordering="edf:patience=1h").specs == {
        "ordering": "edf:patience=1h", "placement": "least_loaded", "allocation": "msa", "mail/allocation": "mra",
    }  # fmt: skip
    file.write_text(
        'ordering = "sjf:aging=5"\n[services.thumbs]\nordering = "lifo"\n[services."a b"]\n[services.mail]\ncolour = "red"\n'
    )
    with pytest.raises(SettingsError) as fault:
        load_settings(file)
    for word in ("no setting 'aging'", "services.thumbs.ordering", "'lifo'", "services.mail.colour"):
        assert word in str(fault.value)


def test_limits_stand_in_the_file(tmp_path: Path) -> None:
    """By name, judged whole: a word that a limit does not know stops the start, with its name."""
    file = tmp_path / "orchestrator.toml"
    file.write_text('[limits.api]\non = "pay.*"\nat_once = 5\nrate = 50\n[limits.fair]\non = "*"\nkey = "tenant"\nat_once = 10\n')
    assert load_settings(file).limits["api"] == {"on": "pay.*", "at_once": 5, "rate": 50}
    file.write_text('[limits.api]\nat_most = 5\n[limits."a b"]\nat_once = 1\n')
    with pytest.raises(SettingsError) as fault:
        load_settings(file)
    assert "limit 'api': Object contains unknown field `at_most`" in str(fault.value)


def test_a_variable_that_nothing_reads_is_named_with_the_one_that_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its case; not those that are read elsewhere, nor what Kubernetes adds for a service of that name."""
    for name in [name for name in os.environ if name.startswith("ORCHESTRATOR_")]:
        monkeypatch.delenv(name)
    for name in ("LEESE_S", "FRUIT", "lease_s", NAMED_BY.removeprefix("ORCHESTRATOR_"), "SERVICE_HOST", "PORT_5672_TCP_ADDR"):
        monkeypatch.setenv(f"ORCHESTRATOR_{name}", "3")
    assert unread() == ["ORCHESTRATOR_FRUIT", "ORCHESTRATOR_LEESE_S"]
    fruit, leese = told_unread()
    assert leese == "ORCHESTRATOR_LEESE_S in the environment is no setting and changes nothing. Is ORCHESTRATOR_LEASE_S meant?"
    assert "`orchestrator settings` lists all that there are" in fruit


def test_what_agents_take_for_mistyped_is_no_setting_of_coordinators() -> None:
    """Both may be started from one environment."""
    for name in Settings.model_fields:
        assert not list(misspelt([f"ORCHESTRATOR_{name.upper()}"], "ORCHESTRATOR_", READ["ORCHESTRATOR_"])), name
