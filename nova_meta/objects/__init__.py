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

"""Objects that replace upstream's of the same name and version.

The import of this package registers them. The patch puts that at the end of
``nova.objects.register_all()``, which every service of Nova calls.
"""

from oslo_log import log as logging

from nova_meta import release

LOG = logging.getLogger(__name__)

release.check()
__import__('nova_meta.objects.flavor')
__import__('nova_meta.objects.instance')
LOG.info('The objects of nova-meta are active in this process.')
