"""Hosts on which cells die before their first step, and which of them no job is sent to."""

TO_EXCLUDE = 2  # cells that died there; one may have died of something else


class Hosts:
    """What is known of hosts. Of several of a job none can be blamed: only that job avoids them."""

    def __init__(self) -> None:
        self.dead: dict[str, list[str]] = {}
        """Cells that died before their first step, by host (or list of hosts)."""
        self._good: set[str] = set()

    @property
    def excluded(self) -> set[str]:
        """Hosts on which several cells died and none trained, while others did elsewhere: without
        that it may be the program that is wrong, and all hosts would be excluded in the end."""
        if not self._good:
            return set()
        many = {host for host, jobs in self.dead.items() if len(set(jobs)) >= TO_EXCLUDE}
        return {host for host in many if not set(host) & set("[,")}

    def died(self, host: str, job: str) -> None:
        """A job died there before its first step."""
        self.dead.setdefault(host, []).append(job)
        self._good.discard(host)

    def good(self, host: str) -> None:
        """A job made steps there."""
        if not host:  # not known
            return
        self.dead.pop(host, None)
        self._good.add(host)
