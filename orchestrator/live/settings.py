"""Settings: flags over ``ORCHESTRATOR_*`` environment over a TOML file, read once, judged whole.

Law: every number has a unit in its name, a limit and a reason; all faults are reported at once; the environment is never read
anywhere else.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from orchestrator.amqp.topology import Topology, base
from orchestrator.core.config import Config
from orchestrator.core.resources.limits import spec_of
from orchestrator.live.plugins import catalogue
from orchestrator.policies import KINDS
from orchestrator.shards import Rule
from orchestrator.spelling import nearest, unknown
from orchestrator.vocabulary import is_name, ns
from orchestrator.wire.messages import Shard, Shards
from orchestrator.wire.types import MOST_SHARDS

PREFIX = "ORCHESTRATOR_"
HEARTBEAT_S = 5
"""AMQP heartbeat: a dead peer is noticed within three of them, by either side."""
NO_SETTINGS = ("RABBITMQ",)
"""Variables with that prefix that are read elsewhere (``embedded/distribution``)."""


class SettingsError(Exception):
    """Something is wrong with the settings; the text lists all of it."""


def default_data_dir() -> Path:
    """Where the embedded broker and ``up.json`` live unless told otherwise."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "orchestrator"


class ServicePolicies(BaseModel):
    """What holds for one service only; what is left out is as for all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ordering: str | None = None
    placement: str | None = None
    allocation: str | None = None

    @field_validator("ordering", "placement", "allocation")
    @classmethod
    def _known(cls, value: str | None, info: Any) -> str | None:
        return None if value is None else catalogue().normal(info.field_name, value)


class ShardSettings(BaseModel):
    """Which tasks belong to a shard: those that match all that is said. Nothing said: a share of what no other is meant for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    services: list[str] = []
    tenants: list[str] = []


class Settings(BaseSettings):
    """What a coordinator can be told: fields by these names in the TOML file, ``ORCHESTRATOR_<NAME>`` in the environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True)

    broker: str | None = Field(None, description="AMQP URL of the broker; none: an embedded one (only with `up` and `demo`)")
    name: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}", description="this coordinator's name")
    data_dir: Path = Field(default_factory=default_data_dir, description="for the embedded broker and up.json")
    log: Literal["console", "json"] = Field("console", description="how log lines look")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug: a line per assignment and end")

    events_vhost: str | None = Field(
        None, description="the virtual host of the broker's event exchange, where it is not the coordinator's own: mostly '/'"
    )

    ordering: str = Field("priority", description="who goes next, until an operator says it once; with settings: sjf:ageing=10m")
    placement: str = Field("least_loaded", description="on which instance")
    allocation: str = Field("msa", description="how much of an elastic demand")
    services: dict[str, ServicePolicies] = Field({}, description="policies of single services: [services.thumbs] ordering = ...")
    limits: dict[str, dict[str, Any]] = Field(
        {}, description="what belongs to no instance, until an operator says otherwise: [limits.api] on = 'pay.*', at_once = 5"
    )

    shards: int | dict[str, ShardSettings] = Field(
        {},
        description="where one coordinator is not enough: so many shards, by service; or: [shards.gpu] services = ['render*']",
    )
    shard: str | None = Field(None, description="the shard to serve; none: all, each by a process of its own")

    estimates: Literal["learn", "trust"] = Field(
        "learn", description="trust: what a task says of its run time is taken as it is; learn: it is corrected by what was seen"
    )

    lease_s: Annotated[float, Field(ge=2, le=300)] = 5.0
    """How long an instance is believed in without a beat. Beats come every second: below 2 s one lost beat is a death."""
    dedup_window_s: Annotated[float, Field(ge=60, le=7 * 24 * 3600)] = 600.0
    """How long ids of ended tasks are remembered. Must exceed the life of a deposed coordinator's session (10 s) by far."""
    settle_after_s: Annotated[float, Field(ge=0, le=60)] = 0.0
    """For a single broker node that may lose its power: submissions and reports stay in their queues for so long after they are in
    the ledger, for that is when the operating system has written it (Linux: 35 s, less with a lower vm.dirty_expire_centisecs).
    So many messages at most are under way meanwhile: 65,535 of each queue."""
    losses_max: Annotated[int, Field(ge=1, le=100)] = 3
    """A task whose instances died under it so often ends as failed: it may be what kills them."""
    reservations: Annotated[int, Field(ge=0, le=100)] = 1
    """So many tasks of a service that fit nowhere now have an instance kept for them (0: smaller ones may pass them for ever)."""
    backlog_max: Annotated[int, Field(ge=100, le=20_000_000)] = 500_000
    """Tasks held in memory (about 1 kB each and their arguments); beyond, the rest waits in the broker."""
    ledger_bytes_max: Annotated[int, Field(ge=64 * 1024**2, le=1024**4)] = 2 * 1024**3
    """The cap of the ledger stream on the broker's disk. This and the next three hold from when they are first declared on: a
    coordinator that is told otherwise later does not start. To change them begin in a new virtual host."""
    ledger_segment_bytes: Annotated[int, Field(ge=1024**2, le=500 * 1024**2)] = 50 * 1024**2
    """Size of the stream's files: the broker drops the oldest whole."""
    intake_bytes_max: Annotated[int, Field(ge=1024**2)] | None = None
    """Bytes an intake queue may hold before it refuses submissions; none: as much as the broker bears."""
    replicated: bool = False
    """Quorum queues: for a broker cluster of at least three nodes."""

    @field_validator("ordering", "placement", "allocation")
    @classmethod
    def _known(cls, value: str, info: Any) -> str:
        return catalogue().normal(info.field_name, value)

    @field_validator("services")
    @classmethod
    def _services(cls, value: dict[str, ServicePolicies]) -> dict[str, ServicePolicies]:
        for name in value:
            if not is_name(name):
                raise ValueError(f"{name!r} is no name of a service")
        return value

    @field_validator("limits")
    @classmethod
    def _limits(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, spec in value.items():
            spec_of(name, spec)
        return value

    @field_validator("shards")
    @classmethod
    def _shards(cls, value: int | dict[str, ShardSettings]) -> int | dict[str, ShardSettings]:
        _rule_of(value)
        return value

    @model_validator(mode="after")
    def _shard(self) -> Settings:
        if self.shard is not None and self.shard not in self.rule.names:
            raise ValueError(f"there is no shard {self.shard!r}; there are: {', '.join(self.rule.names)}")
        return self

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("broker")
    @classmethod
    def _amqp(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("amqp://", "amqps://")):
            raise ValueError("must be an AMQP URL, like amqp://user:password@host:5672/")
        return value

    @property
    def rule(self) -> Rule:
        """Which shard a task belongs to."""
        return _rule_of(self.shards)

    @property
    def says_shards(self) -> bool:
        """Whether that rule is anybody's will."""
        return "shards" in self.model_fields_set

    @property
    def topology(self) -> Topology:
        """What a shard needs on the broker before anybody comes."""
        return base(
            ledger_max_bytes=self.ledger_bytes_max,
            ledger_segment_bytes=self.ledger_segment_bytes,
            replicated=self.replicated,
            intake_max_bytes=self.intake_bytes_max,
        )

    @property
    def core(self) -> Config:
        """The numbers the core decides by."""
        reserve = max(16 * 1024**2 + 2 * self.ledger_segment_bytes, self.ledger_bytes_max // 8)
        return Config(
            lease_ns=ns(self.lease_s),
            dedup_ns=ns(self.dedup_window_s),
            settle_after_ns=ns(self.settle_after_s),
            losses_max=self.losses_max,
            reservations=self.reservations,
            backlog_max=self.backlog_max,
            estimates=self.estimates,
            ledger_bytes_max=self.ledger_bytes_max,
            reserve_bytes=min(reserve, self.ledger_bytes_max // 2),
        )

    @property
    def specs(self) -> dict[str, str]:
        """Policies with their settings by scope: what holds until the ledger says otherwise."""
        default: dict[str, str | None] = {kind: getattr(self, kind) for kind in KINDS}
        own = {f"{service}/{kind}": getattr(one, kind) for service, one in self.services.items() for kind in KINDS}
        return {scope: spec for scope, spec in {**default, **own}.items() if spec is not None}


def _rule_of(shards: int | dict[str, ShardSettings]) -> Rule:
    """Raises ValueError for what no rule can be."""
    if isinstance(shards, int):
        if not 1 <= shards <= MOST_SHARDS + 1:
            raise ValueError(f"the number of shards is from 1 to {MOST_SHARDS + 1}")
        return Rule([Shard(f"s{number}") for number in range(1, shards)])
    for name, one in shards.items():
        if not is_name(name):
            raise ValueError(f"{name!r} is no name of a shard: one word of letters, digits, _ and -")
        for names in one.services:
            if not is_name(names.removesuffix("*") or "any"):
                raise ValueError(f"{names!r} names no service: a name, or the beginning of names with * behind")
    said = [{"name": name, "services": one.services, "tenants": one.tenants} for name, one in shards.items()]
    return Rule(msgspec.convert({"kind": "shards", "shards": said}, Shards).shards)  # how many, how long: its error is a ValueError


def load_settings(config_file: Path | None = None, **flags: Any) -> Settings:
    """Settings from flags (those that are not None), then environment, then the TOML file.

    Raises SettingsError, which lists every fault with where it was found.
    """
    if config_file is not None and not config_file.is_file():
        raise SettingsError(f"the settings file {config_file} does not exist. Nothing was started. Check --config.")

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_file)

    try:
        return Sourced(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as fault:
        lines = [f"  {'.'.join([*map(str, one['loc'])] or ['shard'])}: {_wrong(one)}{_shown(one)}" for one in fault.errors()]
        raise SettingsError("\n".join(["the settings are not right; nothing was started:", *lines])) from None
    except ValueError as fault:  # the TOML itself
        raise SettingsError(f"the settings file {config_file} cannot be read: {fault}. Nothing was started.") from None


def unread() -> list[str]:
    """The variables ``ORCHESTRATOR_*`` of the environment that nothing reads: mistyped, most likely."""
    return unknown(os.environ, PREFIX, [*Settings.model_fields, *NO_SETTINGS])


def told_unread() -> list[str]:
    """The same, as warnings."""
    lines = []
    for name in unread():
        near = nearest(name.removeprefix(PREFIX).lower(), Settings.model_fields)
        meant = f" Is {PREFIX}{near.upper()} meant?" if near else " `orchestrator settings` lists all that there are."
        lines.append(f"{name} in the environment is no setting and changes nothing.{meant}")
    return lines


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """What a process of ours is told, so that it has the settings that were given here, and ``more``: by its environment, for
    arguments can be read by anybody."""
    given = settings.model_dump(mode="json", include=settings.model_fields_set - {"name"}) | more
    return {f"{PREFIX}{name.upper()}": value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}


def _wrong(fault: Any) -> str:
    """What is wrong with it, for who wrote it."""
    if fault["type"] != "extra_forbidden":
        return str(fault["msg"]).removeprefix("Value error, ")
    *outer, name = map(str, fault["loc"])
    known = ServicePolicies.model_fields if outer[:1] == ["services"] else {} if outer else Settings.model_fields
    near = nearest(name, known)
    return "there is no such setting" + (f"; is {near} meant?" if near else "")


def _shown(fault: Any) -> str:
    """What was given, unless there may be a password in it."""
    return "" if fault["loc"][:1] in (("broker",), ()) else f" (got {fault['input']!r})"
