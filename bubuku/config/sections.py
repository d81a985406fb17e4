"""What the sections of the configuration have in common."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from bubuku.core.errors import UsageError


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Secretive(Section):
    """A section with a password: from its file, read where it is used, or from the environment."""

    password_file: Path | None = Field(
        default=None,
        description="File with the password (its last line end is dropped). Never write a password into the YAML.",
    )
    password: SecretStr | None = Field(default=None, exclude=True, description="Comes from the environment only.")

    def secret(self) -> SecretStr | None:
        """The password: the environment's, else the file's as it stands now; None where there is neither.

        Raises UsageError naming the file where it cannot be read.
        """
        if self.password is not None or self.password_file is None:
            return self.password
        try:
            return SecretStr(self.password_file.read_text(encoding="utf-8").rstrip("\r\n"))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise UsageError(f"password_file: {self.password_file}: {reason}") from None
