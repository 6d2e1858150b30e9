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
            left = [cell for name, cell in CELLS.items() if not os.path.exists(*records_of([name]))]
            check_cells(most_tokens(files_here(), CONFIG), left)
    except PlmScalingError as error:
        sys.exit(f"error: {error}")


def check_cells(given, cells):
    """Say of cells what the data cannot give; raises `SweepError` where nothing can come of it."""
    for line in check_supply(given, cells, CONFIG) if given and cells else ():
        logger.warning(f"warning: {line}")


def check_or_end(given, cells, where=""):
    """The same during a run, which ends if nothing can come of the cells."""
    try:
        check_cells(given, cells)
    except PlmScalingError as error:
        end_run(f"{where}{error}")


@cache
def end_run(why):
    """End the run when its running jobs have ended; say why, once."""
    logger.error(f"error: {why}")
    # As exit_gracefully does, whose lock Snakemake holds while it says that a job has ended.
    workflow.scheduler._user_kill = "graceful"


class WhenTokensAreMade(logging.Handler):
    """Compares the cells with the tokens as soon as these are made; no cell starts in vain."""

    def emit(self, record):
        if getattr(record, "event", None) != FINISHED or not record.msg.endswith(
            "(Rule: merge_tokens)"
        ):
            return
        check_or_end(made_tokens(MANIFEST), CELLS.values())


def supply_json():
    """What the data give, as programs take it; "" if it is not known."""
    check_files()
    given = supply()
    if MANIFEST.is_file() and workflow.is_main_process:
        try:
            check_cells(given, CELLS.values())
        except PlmScalingError as error:  # tokens of another config may lie there
            logger.warning(f"warning: {error}")
    return given.model_dump_json() if given else ""
