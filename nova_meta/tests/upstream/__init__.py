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

"""Upstream's own tests of server metadata, run on nova-meta's classes.

The tests are those of the installed Nova and run as they are. What a test
finds in place of upstream's classes is told in :mod:`.adapter`. A test that
looks at how upstream does it, not at what it does, is named with the reason in
not_applicable.txt and skipped.
"""

import importlib
from unittest import mock

# Upstream's test packages choose between eventlet and native threads when they
# are imported. The one patches the interpreter, and with it every other test
# in this process; the other forbids eventlet, which may be there already. They
# run without that choice, too, on native threads.
with mock.patch('nova.monkey_patch.patch', autospec=True):
    importlib.import_module('nova.tests.unit')
    importlib.import_module('nova.tests.functional')
