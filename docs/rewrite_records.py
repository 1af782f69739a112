"""Write the records in and below folders anew, in the present format; what they say stays as it is.

    python docs/rewrite_records.py results

Nobody needs it to read them: older formats are read as they are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rnabench.report.record_file import read_record, read_study, write_record, write_study_record


def main(folders: list[str]) -> None:
    for file in sorted(file for folder in folders for file in Path(folder).rglob("*.json")):
        content, before = json.loads(file.read_text(encoding="utf-8")), file.stat().st_size
        if "study" in content:
            write_study_record(read_study(file), file)
        elif "results" in content and "format" in content:
            write_record(read_record(file), file)
        else:
            continue  # of a bench or a comparison with libraries
        print(f"{file}: {before:,} bytes, now {file.stat().st_size:,}")


if __name__ == "__main__":
    main(sys.argv[1:])
