"""What is learned of quotas: stream quota-<account>."""

from apikeyrouter.domain.vocabulary.shape import Event, EventRef


class QuotaLimitLearned(Event, frozen=True, kw_only=True, gc=False):
    """A limit that nobody had declared, or another than was believed, came from the provider.

    `source` says how it is known: from the headers of an answer, or guessed from refusals; `kind` how its
    window turned out to run, where that was seen.
    """

    key_id: str
    dimension: str
    unit: str
    limit: int
    models: tuple[str, ...] | None = None
    kind: str | None = None
    source: str
    evidence: tuple[EventRef, ...] = ()


class QuotaCorrected(Event, frozen=True, kw_only=True, gc=False):
    """The provider says that less remains than was believed: somebody else uses the key as well."""

    account: str
    remaining: int
    until_us: int | None = None
    evidence: tuple[EventRef, ...] = ()
