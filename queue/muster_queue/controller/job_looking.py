"""Looks at one job with its gang: first what becomes of the job, and only then what that means for the gang."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from muster_api.jobs import AIJob, Execution
from muster_api.quantities import QuantityError
from muster_api.reasons import Reason
from muster_planner.wording import members_text
from muster_queue.controller.groups import Group
from muster_queue.controller.job_gangs import RETRY, decide_job_gang, is_own
from muster_queue.controller.job_members import gang_facts
from muster_queue.controller.roster import Roster
from muster_queue.controller.steps import (
    CreateJobGang,
    Decision,
    DeleteJob,
    DeletePods,
    WriteJob,
)
from muster_queue.controller.timing import Patience
from muster_queue.controller.views import GangView
from muster_queue.controller.world import World
from muster_queue.jobs.lifecycle import JobDecision, decide_job, refuse_job
from muster_queue.jobs.templates import JobTemplate
from muster_queue.jobs.views import Hindrance, JobView
from muster_queue.jobs.wants import Stop, Wants, wants_of


@dataclass(frozen=True, slots=True)
class JobLook:
    """A job, and the status that it should have."""

    job: AIJob
    decision: JobDecision


@dataclass(frozen=True, slots=True)
class Glance:
    """A job's group at one moment; `view` is None as long as there is no Gang."""

    group: Group
    view: GangView | None
    roster: Roster
    wall: datetime
    now: float


def look_at_job(world: World, glance: Glance, patience: Patience) -> tuple[Decision, JobLook | None]:
    """What to do next for the gang or the job, and how the job stands."""
    job = glance.group.job
    if job is None:
        return _without_job(glance, patience), None
    try:
        template = world.catalog.template(job)
    except QuantityError as error:
        return _refuse(job, f"spec.resources: {error}", glance, patience)
    view = _job_view(world, job, template, glance, patience)
    decision = decide_job(view)
    look = JobLook(job, decision)
    if decision.expires:
        return Decision(step=DeleteJob(job)), look
    if decision.is_binding:
        return Decision(step=WriteJob(job, decision.status)), look
    wants = wants_of(view)
    gang_decision = _gang_decision(glance, wants, template, patience)
    return _soonest(gang_decision, decision.recheck_after), look


def _refuse(job: AIJob, message: str, glance: Glance, patience: Patience) -> tuple[Decision, JobLook]:
    decision = refuse_job(JobView(job, None, members=0, gpus=0, now=glance.wall), message)
    look = JobLook(job, decision)
    if decision.expires:
        return Decision(step=DeleteJob(job)), look
    if decision.is_binding:
        return Decision(step=WriteJob(job, decision.status)), look
    if glance.view is None:
        return Decision(recheck_after=decision.recheck_after), look
    # What it has from a time when it could be read is taken down.
    down = decide_job_gang(glance.view, Wants(stop=Stop(Reason.INVALID, message)), None, patience, glance.now)
    return _soonest(down, decision.recheck_after), look


def _gang_decision(glance: Glance, wants: Wants, template: JobTemplate, patience: Patience) -> Decision:
    if glance.view is not None and not is_own(glance.view.gang, template):
        # An earlier job of that name has left it behind, and this one waits until it and its pods are gone.
        left = decide_job_gang(glance.view, Wants(), None, patience, glance.now)
        ended = tuple(member for member in glance.roster.everyone() if member.is_terminal and not member.deleting)
        if left.step is None and ended and not glance.roster.has_live:
            return Decision(step=DeletePods(ended), recheck_after=RETRY)
        return left
    if glance.view is not None:
        return decide_job_gang(glance.view, wants, template, patience, glance.now)
    members = tuple(member for member in glance.roster.everyone() if not member.deleting)
    if members and wants.place:
        # Their Gang object is gone, and with it the plan that they ran by.
        return Decision(step=DeletePods(members), recheck_after=RETRY)
    if wants.place and not glance.roster.has_pods:
        return Decision(step=CreateJobGang(template))
    return Decision()


def _without_job(glance: Glance, patience: Patience) -> Decision:
    """Kubernetes takes away what a deleted job has left; what takes room is let go at once."""
    if glance.view is None:
        return Decision()
    return decide_job_gang(glance.view, Wants(), None, patience, glance.now)


def _job_view(world: World, job: AIJob, template: JobTemplate, glance: Glance, patience: Patience) -> JobView:
    view = glance.view if glance.view is not None and is_own(glance.view.gang, template) else None
    facts = gang_facts(view, patience, glance.now) if view is not None else None
    places = len(view.plan) if view is not None else 0
    return JobView(
        job=job,
        gang=facts,
        members=template.members,
        gpus=(places or template.members) * template.gpus_each,
        now=glance.wall,
        hindrance=_hindrance(world, job) or (_remains(glance) if view is None else None),
    )


def _hindrance(world: World, job: AIJob) -> Hindrance | None:
    namespace = job.metadata.namespace
    if not world.is_managed(namespace):
        text = f"namespace {namespace} is not managed by Muster; an administrator has to label it"
        return Hindrance(Reason.NAMESPACE_NOT_MANAGED, text)
    if job.spec.execution is Execution.POOL:
        return Hindrance(Reason.POOL_MISSING, "no pool of workers takes jobs here; write execution: pod")
    return world.catalog.hindrance(job)


def _remains(glance: Glance) -> Hindrance | None:
    """Pods that have to go before the job can have a gang of its own: nothing else would say what it waits for."""
    members = glance.roster.everyone()
    left = sorted(member.name for member in members)
    if not left or not all(member.deleting for member in members):
        return None
    text = f"waits for the end of {members_text(len(left))} of an earlier run, first {left[0]}, being deleted already"
    return Hindrance(Reason.MEMBER_DELETED, text)


def _soonest(decision: Decision, recheck_after: float | None) -> Decision:
    moments = [moment for moment in (decision.recheck_after, recheck_after) if moment is not None]
    if not moments or min(moments) == decision.recheck_after:
        return decision
    return Decision(
        step=decision.step,
        report=decision.report,
        ordered=decision.ordered,
        recheck_after=min(moments),
    )
