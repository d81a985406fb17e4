"""The settings of ZooKeeper: where it is, and how bubuku's own client talks to it. A part of `config.model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticKnownError

from bubuku.config.sections import Secretive, Section
from bubuku.core.addresses import checked


def _addresses(value: Any, info: ValidationInfo) -> Any:
    """ "h1:2181,h2" or a list of such → a tuple of "host:port". Not given: needed unless a file is named."""
    named = info.data.get("addresses_file") is not None
    if value is None:
        if not named:
            raise PydanticKnownError("missing")
        return ()
    if named:
        raise ValueError("addresses_file is set too; leave one of the two out")
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise ValueError('should be "host:port,host:port" or a list of "host:port"')
    return checked(parts)


def _prefix(value: Any) -> Any:
    return "/" + value.strip("/") if isinstance(value, str) else value


class ZooKeeperAuth(Secretive):
    scheme: Literal["digest", "sasl"] = Field(default="digest", description="`digest`, or `sasl` (DIGEST-MD5).")
    username: str = Field(description="The user that bubuku's nodes belong to.")

    @model_validator(mode="after")
    def _complete(self) -> ZooKeeperAuth:
        if self.password is None and self.password_file is None:
            raise ValueError("needs password_file, or BUBUKU_ZOOKEEPER_PASSWORD in the environment")
        return self


class ZooKeeperTls(Section):
    cafile: Path | None = Field(default=None, description="PEM of the authorities that sign ZooKeeper's certificates.")
    certfile: Path | None = Field(default=None, description="PEM of the client's own certificate.")
    keyfile: Path | None = Field(default=None, description="PEM of the client's own key.")
    verify: bool = Field(default=True, description="Whether the certificate must name ZooKeeper's host.")


class ZooKeeper(Section):
    addresses_file: Path | None = Field(
        default=None,
        description="Instead of `addresses`: a file with them, one `host:port` a line or several with commas; `#` "
        "begins a comment. It is read again and again, and a list that has changed is acted on.",
    )
    addresses_settle_seconds: float = Field(
        default=180.0, ge=0, description="A list that has changed is acted on once it was the same for so long."
    )
    addresses: Annotated[tuple[str, ...], BeforeValidator(_addresses)] = Field(
        default=None,
        validate_default=True,
        description='"h1:2181,h2:2181", or a list, in any order; needed without `addresses_file`. Kafka is given the '
        "same in ZooKeeper mode, and restarted if it was started with another list.",
    )
    prefix: Annotated[str, BeforeValidator(_prefix)] = Field(
        default="/", description="Kafka's chroot; bubuku's own nodes are under `<prefix>/bubuku/v2`."
    )
    session_timeout_seconds: float = Field(
        default=10.0, ge=1, le=120, description="How long ZooKeeper keeps the member of a daemon that is gone."
    )
    auth: ZooKeeperAuth | None = Field(default=None, description="Credentials for bubuku's own ZooKeeper client.")
    tls: ZooKeeperTls | None = Field(
        default=None, description="TLS for bubuku's own ZooKeeper client; absent: plain text."
    )

    @property
    def chroot(self) -> str:
        """The prefix as it follows addresses; "" for the root."""
        return "" if self.prefix == "/" else self.prefix
