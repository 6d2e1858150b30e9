"""What the data give, compared with what the cells ask for."""

@cache
def files_here():
    """The files of each source that is on this machine, if they are there."""
    found = {}
    for name in CONFIG.sources:
        try:
            found[name] = files_of(SOURCE[name]) if SOURCE[name].path else []
        except PlmScalingError:
            found[name] = []  # named by `local_files`
    return found


def supply():
    """What the tokens give, or the most that files of this machine can; None if neither is known."""
    return made_tokens(MANIFEST) if MANIFEST.is_file() else most_tokens(files_here(), CONFIG)


@cache
def check_files():
    """End where the files of this machine cannot give what the cells ask for."""
    try:
        if workflow.is_main_process and may_train():
            check_cells(most_tokens(files_here(), CONFIG))
    except PlmScalingError as error:
        sys.exit(f"error: {error}")


def check_cells(given):
    """Say of cells what the data cannot give; raises `SweepError` where nothing can come of it."""
    for line in check_supply(given, CELLS.values(), CONFIG) if given else ():
        logger.warning(f"warning: {line}")


class WhenTokensAreMade(logging.Handler):
    """Compares the cells with the tokens as soon as these are made; no cell starts in vain."""

    def emit(self, record):
        if getattr(record, "event", None) != FINISHED or not record.msg.endswith(
            "(Rule: merge_tokens)"
        ):
            return
        try:
            check_cells(made_tokens(MANIFEST))
        except PlmScalingError as error:
            logger.error(f"error: {error}")
            # As exit_gracefully does, whose lock Snakemake holds while it says that a job has ended.
            workflow.scheduler._user_kill = "graceful"


def supply_json():
    """What the data give, as programs take it; "" if it is not known."""
    check_files()
    given = supply()
    return given.model_dump_json() if given else ""
