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

"""Upstream's tests with native threads; imported before any of them."""

import importlib
import os

# As nova-api runs by default since Nova 34. What of upstream's tests is
# imported first decides for the whole process, and upstream's own default,
# greened by eventlet, does not go with threads that wait for each other.
os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = 'true'
importlib.import_module('nova.tests.unit')
