"""The active entities next to the DAGs that Airflow has of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from optimizer.control_plane.records import BrokenEntity, EntityDefinition
from optimizer.lifecycle.findings import DoctorFinding
from optimizer.names import DAG_PREFIX

_READ_ERRORS = (
    "the import errors on Airflow's first page, and the dag-processor's log of the file with the entities' DAGs"
)


class KnownDag(Protocol):
    """A DAG that Airflow has, by its dag_id; one that the last parse of its file did not build is stale."""

    @property
    def dag_id(self) -> str: ...

    @property
    def is_paused(self) -> bool: ...

    @property
    def is_stale(self) -> bool: ...

    @property
    def has_import_errors(self) -> bool: ...


ListDags = Callable[[str], Sequence[KnownDag]]
"""A prefix of dag_ids to the DAGs that Airflow has, stale ones included; raises where Airflow is silent."""


def compare_dags(
    good: Iterable[EntityDefinition], broken: Iterable[BrokenEntity], dags: Iterable[KnownDag]
) -> Iterator[DoctorFinding]:
    """Yield what is wrong with the DAGs of the entities, each with what to do.

    Args:
        broken: the entities that are invalid, which may have a DAG of their last good definition, and need not.
    """
    known = {dag.dag_id.removeprefix(DAG_PREFIX): dag for dag in dags if dag.dag_id.startswith(DAG_PREFIX)}
    active = {definition.entity.entity_code for definition in good if definition.entity.status == "A"}
    for code in sorted(active):
        yield from _of_active(code, known.get(code))
    for code in sorted(known.keys() - active - {row.entity_code for row in broken}):
        if not known[code].is_stale:
            todo = (
                "if it was set inactive or removed a moment ago, ask again in a minute; else restore the row, or let "
                "the DAGs of removed entities go with `optimizer confirm-entities`"
            )
            yield DoctorFinding(f"DAG {DAG_PREFIX}{code}", "opt_entities has no active entity of it", todo)


def _of_active(code: str, dag: KnownDag | None) -> Iterator[DoctorFinding]:
    subject, dag_id = f"entity {code}", f"{DAG_PREFIX}{code}"
    if dag is None:
        todo = f"if the entity is new, ask again in a minute; else {_READ_ERRORS}"
        yield DoctorFinding(subject, f"Airflow has no DAG {dag_id}: no run starts", todo)
        return
    if dag.is_stale:
        problem = f"its DAG {dag_id} is stale: no DAG file builds it any more, and no run starts"
        yield DoctorFinding(subject, problem, _READ_ERRORS)
    elif dag.has_import_errors:
        problem = f"the file of its DAG {dag_id} has an import error: changes of its config are not seen"
        yield DoctorFinding(subject, problem, _READ_ERRORS)
    if dag.is_paused:
        todo = f"unpause {dag_id}; or set the entity's status to 'I' if it should not run"
        yield DoctorFinding(subject, f"its DAG {dag_id} is paused: no run starts", todo)
