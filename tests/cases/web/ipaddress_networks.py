# Networks contain addresses, split, and summarise.
import ipaddress as ip

net = ip.ip_network("192.168.4.0/22")
print(
    net.num_addresses,
    ip.ip_address("192.168.7.9") in net,
    [str(n) for n in net.subnets(new_prefix=24)],
    net.netmask,
    next(net.hosts()),
    ip.ip_address("10.0.0.1").is_private,
    ip.ip_address("::1").is_loopback,
)
print(
    ip.ip_address("2001:db8::ff").exploded,
    int(ip.ip_address("0.0.1.1")),
    list(ip.summarize_address_range(ip.ip_address("10.0.0.0"), ip.ip_address("10.0.0.5"))),
    ip.ip_interface("10.1.2.3/8").network,
    sorted([ip.ip_address("10.0.0.10"), ip.ip_address("10.0.0.9")])[0],
    ip.IPv6Address("::ffff:1.2.3.4").ipv4_mapped,
)
ip.ip_network("10.0.0.1/8")
