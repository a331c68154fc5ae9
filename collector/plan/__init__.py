"""The plan: what is due in a cycle, and the proof that a whole schedule fits the providers' limits. Pure."""

from collector.plan.due import (
    LISTS,
    NEVER,
    RANKS_AND_PRICES,
    SETTLE,
    STAGE_COUNT,
    Known,
    Task,
    due_tasks,
    plan_jobs,
    plan_stage,
    stage_of,
)
from collector.plan.proof import Proof, Violation, prove
from collector.plan.report import render_proof
from collector.plan.schedule import Account, Line, Shares, Turns

__all__ = [
    "LISTS",
    "NEVER",
    "RANKS_AND_PRICES",
    "SETTLE",
    "STAGE_COUNT",
    "Account",
    "Known",
    "Line",
    "Proof",
    "Shares",
    "Task",
    "Turns",
    "Violation",
    "due_tasks",
    "plan_jobs",
    "plan_stage",
    "prove",
    "render_proof",
    "stage_of",
]
