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

"""Clients that race for one map, and the judgement of what they are told.

``nova-meta-race`` uses it on a live cloud, the Tempest plugin too. ``client``
talks to Nova, ``workload`` says what the clients do, ``judge`` counts what
went wrong, ``history`` is the pure part of that, ``cloud`` is the server of a
live cloud, ``report`` prints, ``plot`` draws.
"""
