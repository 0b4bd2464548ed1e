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

"""The options of the tests, in tempest.conf."""

from oslo_config import cfg

OPTS = [
    cfg.IntOpt('clients', default=16, min=2,
               help='How many clients send requests at once.'),
    cfg.IntOpt('rounds', default=2, min=1,
               help='How often each workload is played.'),
]

FEATURES = [
    cfg.BoolOpt('atomic_updates', default=True,
                help='Whether concurrent updates of server metadata are '
                     'atomic: nova-meta is in every nova-api.'),
    cfg.BoolOpt('atomic_extra_specs', default=True,
                help='Whether concurrent updates of the extra specs of '
                     'flavors are atomic, too.'),
    cfg.BoolOpt('conditional_requests', default=True,
                help='Whether If-Match and If-None-Match are understood.'),
]

GROUPS = [
    (cfg.OptGroup('nova_meta', title='Tests of nova-meta'), OPTS),
    (cfg.OptGroup('nova_meta-feature-enabled',
                  title='What nova-meta offers in this cloud'), FEATURES),
]
