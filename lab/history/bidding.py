"""The bidder of a simulated market: each auction gets the published bid of the run that the live split gives it to."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lab.history.client import LiveClient
from lab.market.auctions import Requests, spell_ids
from lab.market.events import serve
from lab.market.policies import BidTablePolicy, Policy
from lab.market.published import read_bid_table
from lab.market.tables import Events, concat_events
from optimizer.control_plane import deployment_history, runs
from optimizer.control_plane.splits import Split
from optimizer.core.serving.traffic import TrafficSplit
from optimizer.runs.systems import Systems


@dataclass(frozen=True)
class LiveBidder:
    """Bids of a client's splits, at the times at which the control plane says that they were live.

    Attributes:
        usual: who bids before the first split.
    """

    systems: Systems
    client: LiveClient
    usual: Policy
    _tables: dict[str, BidTablePolicy] = field(default_factory=dict)

    def serve(self, requests: Requests) -> Events:
        """Return the events of the requests."""
        splits = deployment_history.read_splits(self.systems.engine, self.client.entity_code)[::-1]
        return concat_events(
            serve(self.client.world, _pick(requests, chosen), policy=policy)
            for chosen, policy in self._shares(requests, splits)
            if chosen.any()
        )

    def _shares(self, requests: Requests, splits: list[Split]) -> Iterator[tuple[np.ndarray, Policy]]:
        """Which requests are whose: of the usual policy, then of each run of each split."""
        starts = np.array([_microseconds(split.deployed_at) for split in splits], dtype=np.int64)
        live = np.searchsorted(starts, requests.bid_ts, side="right") - 1
        yield live < 0, self.usual
        ids = spell_ids(requests.bid_number).to_numpy(zero_copy_only=False)
        for number in np.unique(live[live >= 0]):
            split = TrafficSplit.create(splits[number].percents, entity_code=self.client.entity_code)
            of_split = np.flatnonzero(live == number)
            owners = np.array([split.run_of(ids[index]) for index in of_split])
            for run_id in np.unique(owners):
                chosen = np.zeros(len(requests), dtype=bool)
                chosen[of_split[owners == run_id]] = True
                yield chosen, self._table_of(str(run_id))

    def _table_of(self, run_id: str) -> BidTablePolicy:
        if run_id not in self._tables:
            self._tables[run_id] = self._read_table(run_id)
        return self._tables[run_id]

    def _read_table(self, run_id: str) -> BidTablePolicy:
        store = self.systems.store
        output_uri = runs.read_run(self.systems.engine, run_id).s3_output_path or ""
        with TemporaryDirectory(prefix="optimizer-") as folder:
            for key in store.list_keys(output_uri):
                name = key.rsplit("/", 1)[-1]
                store.get_file(output_uri + name, Path(folder) / name)
            return read_bid_table(Path(folder))


def _pick(requests: Requests, chosen: np.ndarray) -> Requests:
    return Requests(*(getattr(requests, column.name)[chosen] for column in fields(requests)))


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
