#!/usr/bin/perl
# A provider and an agent in one small process, for tests of pace. It writes down each INVITE that the provider gets,
# with the kernel's stamp of the packet (SIOCGSTAMPNS): on loopback that is the instant at which the sender's sendto()
# ran, to some microseconds, however late this process comes to read it. Node's dgram cannot ask for that stamp, and
# SIPp stamps when it reads. Perl's base package is part of every Debian.
#
# Arguments: provider's port, agent's port. The provider is busy; the agent answers with an offer.
# Writes: "ready", then per INVITE "<seconds since 1970>.<nanoseconds> <branch> <user of the Request-URI> <Call-ID>".
use strict;
use warnings;
use Socket;

my ($provider_port, $agent_port) = @ARGV;
my $SIOCGSTAMPNS = 0x8907;
$| = 1;

sub opened {
  my ($port) = @_;
  socket(my $socket, PF_INET, SOCK_DGRAM, 0) or die "socket: $!\n";
  setsockopt($socket, SOL_SOCKET, SO_RCVBUF, pack('i', 4_000_000));
  bind($socket, sockaddr_in($port, inet_aton('127.0.0.1'))) or die "bind $port: $!\n";
  return $socket;
}

sub stamp {
  my ($socket) = @_;
  my $buffer = "\0" x 16;
  return undef unless ioctl($socket, $SIOCGSTAMPNS, $buffer);
  return sprintf('%d.%09d', unpack('q q', $buffer));
}

sub field {
  my ($message, $name) = @_;
  return join('', map { "$name: $_\r\n" } $message =~ /^\Q$name\E: ([^\r]*)\r$/mg);
}

my $provider = opened($provider_port);
my $agent = opened($agent_port);
# The first question for a stamp makes the kernel begin to stamp, which takes it a moment.
stamp($provider);
for (1 .. 100) {
  send($provider, 'stamped?', 0, getsockname($provider)) or die "send: $!\n";
  recv($provider, my $octets, 64, 0);
  last if defined stamp($provider);
  select(undef, undef, undef, 0.01);
}
die "the kernel does not stamp: $!\n" unless defined stamp($provider);
select(undef, undef, undef, 0.1);

sub answer {
  my ($socket, $from, $message, $line, $extra, $body) = @_;
  my $to = field($message, 'To');
  $to =~ s/\r\n/;tag=recorder\r\n/ unless $to =~ /;tag=/;
  my $head = join('', map { field($message, $_) } 'Via', 'From') . $to . field($message, 'Call-ID') . field($message, 'CSeq');
  send($socket, "SIP/2.0 $line\r\n$head${extra}Content-Length: " . length($body) . "\r\n\r\n$body", 0, $from);
}

my $sdp = join("\r\n", 'v=0', 'o=agent 7 7 IN IP4 192.0.2.20', 's=-', 'c=IN IP4 192.0.2.20', 't=0 0',
  'm=audio 40000 RTP/AVP 8', 'a=rtpmap:8 PCMA/8000', '');
my $contact = "Contact: <sip:recorder\@127.0.0.1:$agent_port>\r\nContent-Type: application/sdp\r\n";

sub from_gateway {
  my ($socket) = @_;
  my $from = recv($socket, my $message, 65_535, 0) or return;
  my ($method, $user) = $message =~ /^([A-Z]+) sips?:([^@; ]*)/ or return;
  return if $method eq 'ACK';
  if ($method ne 'INVITE') {
    answer($socket, $from, $message, '200 OK', '', '');
  } elsif ($socket == $agent) {
    answer($socket, $from, $message, '200 OK', $contact, $sdp);
  } else {
    my $at = stamp($socket);
    my ($branch) = $message =~ /^Via:[^\r]*;branch=([^;,\r]+)/m;
    my ($call) = $message =~ /^Call-ID: ([^\r]*)\r$/m;
    print "$at $branch $user $call\n";
    answer($socket, $from, $message, '486 Busy Here', '', '');
  }
}

print "ready\n";
while (1) {
  my $readable = '';
  vec($readable, fileno($_), 1) = 1 for $provider, $agent;
  next unless select($readable, undef, undef, undef) > 0;
  for my $socket ($provider, $agent) {
    from_gateway($socket) if vec($readable, fileno($socket), 1);
  }
}
