"""What stands between a user and the Hub, as sentences that say what to do."""

import os
from typing import Literal

from .bounded import short
from .errors import UserError


class Absent(UserError):
    """There is no such repository that this user may see."""


class Unreachable(UserError):
    """The Hub does not answer, or is not to be asked."""


class Changed(UserError):
    """Somebody else changed a repository since it was looked at."""


def explained(
    error: Exception, to: Literal["read", "write"], name: str, kind: str, revision: str
) -> UserError:
    """The sentence for what kept somebody from reading or writing the repository `name`."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    chain = _chain(error)
    answers = [link for link in chain if isinstance(link, HfHubHTTPError)]
    told = f"{type(chain[-1]).__name__}: {short(str(chain[-1]).partition(chr(10))[0], 200)}"
    if answers and answers[0].server_message:
        told = f"{answers[0].response.status_code}: {short(answers[0].server_message, 200)}"
    if any(isinstance(link, HFValidationError) for link in chain):
        return UserError(f"{name!r} cannot be the name of a repository ({told}).")
    if any(isinstance(link, RevisionNotFoundError) for link in chain):
        return UserError(
            f"{name!r} has no revision {revision or 'main'!r}: name a branch, a tag or a commit."
        )
    if any(isinstance(link, OfflineModeIsEnabled) for link in chain):
        return _offline(to, name)
    status = answers[0].response.status_code if answers else 0
    if any(isinstance(link, GatedRepoError) for link in answers):
        status = 403
    elif any(isinstance(link, RepositoryNotFoundError) for link in answers):
        return Absent(
            f"There is no {kind} repository {name!r} at {endpoint()} that you may "
            f"see{'' if token() else ' without a token'}. Look at its name; for a private one "
            "set HF_TOKEN, or run `hf auth login`."
        )
    where = f"{endpoint()} ({told})"
    if status == 401:
        return UserError(
            f"The token is not known at {where}. Set HF_TOKEN anew, or run `hf auth login`."
        )
    if status == 403:
        return UserError(
            f"You may not {to} {name!r} at {where}. Take a token that may {to}, an OWNER "
            "that is you or an organisation of yours, or ask for access."
        )
    if status in (409, 412):
        return Changed(
            f"{name!r} was changed by somebody else meanwhile; run the same command again."
        )
    if status == 404:
        return UserError(f"{name!r} is not at {where}: look at the name.")
    kept = ", where nothing of this was committed" if to == "write" else ""
    if 400 <= status < 500:
        return UserError(f"{name!r} at {where}{kept}: the Hub does not take it.")
    return Unreachable(
        f"Cannot {to} {name!r} at {where}{kept}. If the network and HF_ENDPOINT are "
        "right, run the same command again later."
    )


def _offline(to: str, name: str) -> UserError:
    once = " once; this machine's cache serves after that." if to == "read" else "."
    return Unreachable(
        f"Cannot {to} {name!r}: HF_HUB_OFFLINE is set, so {endpoint()} is not asked. "
        f"Unset it, or run the same command where the Hub may be asked{once}"
    )


def endpoint() -> str:
    """The Hub that is asked."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def token() -> str | None:
    """What tells the Hub who is asking; None for anybody."""
    from huggingface_hub import get_token

    return get_token()


def _chain(error: BaseException) -> list[BaseException]:
    """An error and those that it came of, the first of them last."""
    found = [error]
    while (inner := found[-1].__cause__ or found[-1].__context__) and inner not in found:
        found.append(inner)
    return found
