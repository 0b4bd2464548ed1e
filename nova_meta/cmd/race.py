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

"""See whether a cloud loses server metadata."""

import argparse
import contextlib
import importlib.metadata
import json
import signal
import sys
from typing import NamedTuple
import urllib.parse

from keystoneauth1 import exceptions as keystone_exceptions
import openstack.config
import openstack.connection
from openstack import exceptions
from rich import console

from nova_meta.race import cloud
from nova_meta.race import judge
from nova_meta.race import plot
from nova_meta.race import report
from nova_meta.race import workload

# There may be a cluster of databases.
WORKLOADS = workload.WITHOUT_READS

DESCRIPTION = """\
Let many clients update the metadata of one server of a cloud at once, hold
what they were told against what is there in the end, and clean up.

The server is the one that is named, or one that is made for this and deleted
afterwards. Each writer has one request under way at a time: a round is of up
to 128 requests, or one of each writer, and those that put the server's
metadata right before and after it, one by one. Nothing is asked of
hypervisors, but to make a server.

Of a server that is named only keys with a prefix of their own are written.
Nova may lose other keys that are written meanwhile: that is the bug which this
shows. So let nobody else write to the server. Keys of others that are gone in
the end are put back.
"""

EPILOG = """\
Exit status: 0 if nothing was lost, 1 if something was, 2 if that could not be
found out, or not all could be cleaned up.
"""


def parse(argv, config):
    """Parse the command line.

    :param config: an openstack.config.OpenStackConfig, whose options are added
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog='nova-meta-race', description=DESCRIPTION, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--server', metavar='NAME_OR_ID',
        help='a server of your project; one is made if not given')
    parser.add_argument(
        '--flavor', metavar='NAME_OR_ID',
        help='of the server to make; the smallest that fits if not given')
    parser.add_argument(
        '--image', metavar='NAME_OR_ID',
        help='of the server to make; need not be given if there is one only')
    parser.add_argument(
        '--network', metavar='NAME_OR_ID',
        help='of the server to make, which needs none')
    parser.add_argument('--writers', type=int, default=16,
                        help='clients at once (default: %(default)s)')
    parser.add_argument(
        '--rounds', type=int, default=2,
        help='how often each workload is repeated (default: %(default)s)')
    parser.add_argument(
        '--workload', action='append', metavar='NAME',
        choices=sorted(one.name for one in WORKLOADS),
        help='only this one, may be repeated: %(choices)s; those that write '
             'all that a server has ("mixed writes", "quota", "replace") need '
             'one that is made')
    parser.add_argument('--json', metavar='FILE',
                        help='write the figures there, - for standard output')
    parser.add_argument('--plot', metavar='FILE',
                        help='draw there who wrote when, as SVG')
    config.register_argparse_arguments(parser, argv)
    options = parser.parse_args(argv)
    if min(options.writers, options.rounds) < 1:
        parser.error('numbers must be positive')
    if options.writers > workload.MOST_WRITERS:
        parser.error(f'no more than {workload.MOST_WRITERS} writers')
    if options.server and (
            options.flavor or options.image or options.network):
        parser.error('a server is either named or made')
    if options.server and any(one.whole for one in chosen(options)):
        parser.error('a server that is named keeps what it has: '
                     'no such workload')
    return options


def chosen(options):
    """Return the workloads to play, as far as the options say."""
    if options.workload:
        return [one for one in WORKLOADS if one.name in options.workload]
    return [one for one in WORKLOADS if not (one.whole and options.server)]


def main(argv=None):
    err = console.Console(stderr=True)
    # So that everything is cleaned up, as on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *args: sys.exit(143))
    try:
        config = openstack.config.OpenStackConfig(
            app_name='nova-meta-race',
            app_version=importlib.metadata.version('nova-meta'))
        options = parse(argv, config)
        # Standard output is for the JSON, if that is where it goes.
        out = err if options.json == '-' else console.Console()
        connection = openstack.connection.Connection(
            config=config.get_one(argparse=options))
        # It is not made for threads.
        connection.cache_enabled = False
        return race(connection, options, out)
    except (cloud.CloudError, exceptions.SDKException,
            keystone_exceptions.ClientException, OSError) as exc:
        err.print(str(exc), style='red', markup=False)
        return 2
    except KeyboardInterrupt:
        err.print('Interrupted.')
        return 130
    except Exception:
        # Not 1, which says that something was lost.
        err.print_exception()
        return 2


class Found(NamedTuple):
    """What has been found out so far.

    :param results: {workload: :class:`judge.Result`}
    :param rounds: {workload: the :class:`plot.Panel` of its worst round}
    :param others: the keys of others that are not what they were
    """

    results: dict
    rounds: dict
    others: cloud.Others


def race(connection, options, out):
    """Play the workloads, and tell what came of it.

    :returns: the exit status
    """
    for path in (options.json, options.plot):
        # Better now than when all is done.
        if path not in (None, '-'):
            open(path, 'a').close()
    name = options.os_cloud or urllib.parse.urlsplit(
        connection.compute.get_endpoint()).hostname
    found = Found({}, {}, cloud.Others([], []))
    try:
        run(connection, options, out, found)
    finally:
        # Whatever else goes wrong, such as the clean-up.
        if found.results:
            tell(name, found, options, out)
    return verdict(found, out)


def run(connection, options, out, found):
    """Play the workloads on the server that is named, or on one made for it.

    :param found: a :class:`Found`, which is filled
    """
    connection.authorize()
    most = cloud.limit(connection)
    # Before there is a server.
    cloud.check_room(most, options.writers)
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(report.bars(out))
        task = shown.add_task('the server', total=None)
        if options.server:
            server = cloud.find(connection, options.server)
        else:
            server = stack.enter_context(cloud.made(
                connection, out.print, options.flavor, options.image,
                options.network))
        metadata = cloud.Metadata(connection.compute, server, most,
                                  whole=not options.server)
        cloud.check_room(metadata.quota, options.writers)
        workloads = playable(options, metadata.quota, out)
        if options.server:
            stack.enter_context(kept(metadata, found.others, out))
        metadata.try_out()
        shown.update(task, total=len(workloads) * options.rounds)
        play(metadata, workloads, options, found,
             lambda name, step: shown.update(task, description=name,
                                             advance=step))


def tell(name, found, options, out):
    """Print the table, and write the files that are asked for.

    :param name: of the cloud
    """
    total = sum(found.results.values(), judge.Result())
    # Through the API nobody sees rows.
    faults = [fault for fault in judge.FAULTS if fault != 'duplicate rows']
    title = f'{options.writers} writers, one server, {name}'
    out.print(report.verdict(title, {name: total}, faults))
    if options.json:
        report.write_json({
            'cloud': name,
            'server': options.server,
            'writers': options.writers,
            'rounds': options.rounds,
            'results': report.figures({name: found.results}, {name: total},
                                      faults),
            'keys of others': found.others._asdict(),
        }, options.json)
    if options.plot:
        plot.write(plot.timeline(title, found.rounds), options.plot)


def verdict(found, out):
    """Say whether anything was lost.

    :returns: the exit status
    :raises: CloudError if that is not known
    """
    total = sum(found.results.values(), judge.Result())
    bad = +total.faults
    undecided = bad.pop(judge.UNDECIDED, 0)
    if bad or found.others.lost:
        out.print(f'Updates were lost: {dict(bad)}' if bad else
                  'Keys of others were lost.', style='bold red')
        for panel in found.rounds.values():
            if panel.verdict.words:
                out.print(f'{panel.title}:\n{panel.verdict.words}',
                          markup=False, highlight=False)
        return 1
    if not total.acknowledged:
        raise cloud.CloudError('No update was acknowledged, so none could be '
                               'lost.')
    if undecided:
        raise cloud.CloudError(
            f'Nothing was seen to be lost, but in {undecided} rounds too many '
            'requests failed to be sure.')
    out.print('Nothing was lost.', style='bold green')
    return 0


def playable(options, quota, out):
    """Return the workloads that can be played.

    :param quota: how many items of metadata there is room for
    """
    workloads = chosen(options)
    if quota > workload.QUOTA and any(one.fills for one in workloads):
        out.print('The workload "quota" is left out: the server may have more '
                  f'than {workload.QUOTA} items of metadata.')
        workloads = [one for one in workloads if not one.fills]
    if not workloads:
        raise cloud.CloudError('There is nothing else to do.')
    return workloads


def play(metadata, workloads, options, found, progress):
    """Play all rounds.

    :param metadata: a :class:`cloud.Metadata`
    :param found: a :class:`Found`, which is filled
    :param progress: called with a workload's name, and the rounds that are
        done since the last call
    """
    player = workload.Player(metadata)
    results, worst, _ = found
    for one in workloads:
        for number in range(1, options.rounds + 1):
            progress(one.name, 0)
            result = player.play(one, options.writers)
            results[one.name] = results.get(
                one.name, judge.Result()) + result
            if one.name not in worst or (
                    sum(result.faults.values()) >
                    sum(worst[one.name].verdict.faults.values())):
                worst[one.name] = plot.Panel(
                    f'{one.name}, round {number} of {options.rounds}',
                    player.played, player.verdict)
            progress(one.name, 1)


@contextlib.contextmanager
def kept(metadata, others, out):
    """Restore the metadata when the context ends, and say what that took.

    :param others: a :class:`cloud.Others`, whose lists are filled then
    """
    try:
        yield
    finally:
        try:
            for mine, found in zip(others, metadata.restore()):
                mine.extend(found)
        except BaseException:
            out.print(
                'The metadata could not be restored. Keys that begin with '
                f'{metadata.prefix} are left over, and this was there before:',
                json.dumps(metadata.found), style='red', markup=False,
                soft_wrap=True)
            raise
        out.print('The keys that were written are removed.')
        if others.lost:
            out.print('Keys of others were lost, and are put back:',
                      ', '.join(others.lost), style='red', markup=False)
        if others.changed:
            out.print('Keys of others have other values, which are left:',
                      ', '.join(others.changed), markup=False)


if __name__ == '__main__':
    sys.exit(main())
