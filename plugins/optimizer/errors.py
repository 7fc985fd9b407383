"""Every error the optimizer raises on purpose.

OptimizerError
├── PermanentError            a retry cannot fix it: fail at once
│   ├── ConfigError           a config key, an entity or a version is wrong
│   ├── WarehouseError        the warehouse breaks its contract: login, table, column
│   │   └── EmptyWindowError  the window holds no bids
│   ├── DataError             the run's data cannot be learned from
│   ├── ArtifactError         an object is missing, changed or incomplete
│   │   └── AccessDenied      the object store denies access: the object may be good
│   ├── RunStateError         the run is not in the state that the step needs
│   │   ├── RunCancelled      a user cancelled the run: nothing failed, and nothing goes on
│   │   ├── RunCompleted      it is completed: its results stand
│   │   └── RunTaken          another copy of the task works on the run: this copy lost
│   ├── RequestError          a bid request that cannot be read
│   │   └── BodyError         its body is too long, cut off, or in an encoding that is not known
│   ├── TrackingRefused       the tracking service refuses a request: key, field, status
│   └── DeploymentError       a traffic split that the rules forbid
│       ├── PromotionRefused  a run may not go live automatically; it can still be deployed manually
│       └── SplitChanged      a user changed the split since it was looked at
├── CopyError                 the bidder's local copy cannot be written or read, or is damaged
├── RefreshError              the bidder could not load what is deployed; it keeps what it had
└── UnavailableError          a system is silent: try again later
    ├── ServerAway            a server of memcached does not answer
    └── KeysLost              memcached answers, and lost what was written to it

A message says what happened, to whom, and what to do next.
"""


class OptimizerError(Exception):
    """Base of all errors below."""


class PermanentError(OptimizerError):
    """Retrying cannot help; a user has to change something first."""


class ConfigError(PermanentError):
    """A config key, an entity or a version is wrong."""


class UnknownEntity(ConfigError):
    """No entity has this code."""


class ConfigChanged(ConfigError):
    """A client's config is not what it was when a change of it was decided."""


class WarehouseError(PermanentError):
    """The warehouse refuses the login or lacks a table or column of the contract."""


class EmptyWindowError(WarehouseError):
    """The window holds no bids of the entity."""


class DataError(PermanentError):
    """The run's data cannot be learned from."""


class ArtifactError(PermanentError):
    """An object of a run is missing, changed or incomplete."""


class AccessDenied(ArtifactError):
    """The object store denies access, so nothing is known of the object."""


class RunStateError(PermanentError):
    """The run is not in the state that the step needs."""


class RunCancelled(RunStateError):
    """A user cancelled the run: nothing failed, and nothing goes on."""


class RunCompleted(RunStateError):
    """The run is completed: its results stand."""


class RunTaken(RunStateError):
    """Another copy of the task works on the run: this copy lost, and what it has made counts for nothing."""


class RequestError(PermanentError):
    """A bid request that cannot be read; status: HTTP's."""

    status = 400


class BodyError(RequestError):
    """The body of a request is too long, cut off, or in an encoding that is not known."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class TrackingRefused(PermanentError):
    """The tracking service refuses a request.

    status: HTTP's, None where the client saw the fault before it sent anything.
    """

    def __init__(self, message: str = "", *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class DeploymentError(PermanentError):
    """A traffic split that the deployment rules forbid."""


class PromotionRefused(DeploymentError):
    """A newer run or a manual split keeps a run from going live automatically; it can still be deployed manually."""


class SplitChanged(DeploymentError):
    """Another split is active than the one that was looked at when this one was decided."""


class CopyError(OptimizerError):
    """The bidder's copy on local disk cannot be written or read, or is damaged; a damaged one is never served."""


class RefreshError(OptimizerError):
    """The bidder could not load what is deployed; the message names every failure."""


class UnavailableError(OptimizerError):
    """A system did not answer; the same call may succeed later.

    retry_after_s: how long the system asks to be left alone, None where it says nothing.
    """

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServerAway(UnavailableError):
    """One server of memcached does not answer; the others may."""


class KeysLost(UnavailableError):
    """Memcached lost keys of a table, or holds what is not a bid; they have to be written again."""
