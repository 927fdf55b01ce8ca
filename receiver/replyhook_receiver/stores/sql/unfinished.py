"""When a job is not finished with: something is still to be done for it, or waited for."""

from replyhook_receiver.lifecycle import TaskKind

_KINDS = ", ".join(f"'{kind.value}'" for kind in TaskKind if kind is not TaskKind.NOTIFY)

DELIVERS = """EXISTS (
    SELECT 1 FROM notifications un JOIN deliveries ud ON ud.notification = un.sequence
    WHERE un.job_id = {job} AND ud.status = 'pending')"""

UNFINISHED = f"""(
    EXISTS (SELECT 1 FROM deadlines ul WHERE ul.job_id = j.id)
    OR EXISTS (SELECT 1 FROM tasks ut WHERE ut.kind IN ({_KINDS}) AND ut.subject = j.id
        AND ut.state NOT IN ('done', 'dead'))
    OR EXISTS (SELECT 1 FROM assets ua WHERE ua.job_id = j.id AND ua.status IN ('pending', 'downloading'))
    OR {DELIVERS.format(job="j.id")}
)"""  # noqa: S608 - ours
"""Of the job ``j``: a deadline or work is ahead, its video is on its way, or somebody is still to hear of it."""
