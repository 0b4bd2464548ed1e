#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""What clients were told, in files, to be judged again.

``python -m nova_meta_lab.histories FILE...`` says what no order explains.
"""

import json
import math
import sys

from nova_meta import etag
from nova_meta.race import history
from nova_meta.race import judge


def dump(played, file):
    """Write what was played.

    :param played: a :class:`nova_meta.race.judge.Round`
    :param file: a text file
    """
    operations = [
        {**op._asdict(), 'condition': op.condition and [
            header and str(header) for header in op.condition[1:]]}
        for op in played.operations]
    quota = None if played.quota == math.inf else played.quota
    json.dump({**played._asdict(), 'operations': operations, 'quota': quota},
              file)


def load(file):
    """Read what :func:`dump` has written.

    :returns: a :class:`nova_meta.race.judge.Round`
    """
    played = judge.Round(**json.load(file))
    return played._replace(
        operations=[_operation(**op) for op in played.operations],
        quota=math.inf if played.quota is None else played.quota)


def _operation(key, condition, **others):
    return history.Operation(
        key=key, condition=condition and etag.Condition.of(
            etag.of(key), *condition), **others)


def main(paths):
    wrong = False
    for path in paths:
        with open(path) as file:
            verdict = judge.judge(load(file))
        print(f'{path}: {verdict.words or dict(verdict.faults)}')
        wrong = wrong or bool(verdict.faults)
    return int(wrong)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
