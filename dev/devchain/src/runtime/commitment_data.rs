//! The data of a commitment, in the public chain's encoding: one variant for every length up to 128 bytes.
#![expect(clippy::cast_possible_truncation, reason = "the codec macros cast indices")]

use codec::{Decode, DecodeWithMemTracking, Encode};
use frame_support::BoundedVec;
use frame_support::traits::ConstU32;
use scale_info::TypeInfo;

/// Bytes of a commitment that is decrypted later.
pub const MAX_TIMELOCKED: u32 = 1_024;
/// Bytes of one long piece of data.
pub const MAX_BIG_RAW: u32 = 512;

macro_rules! data {
    ($($raw:ident($index:literal = $length:literal))*) => {
        /// One piece of data.
        #[derive(Encode, Decode, DecodeWithMemTracking, TypeInfo, Clone, PartialEq, Eq, Debug)]
        pub enum Data {
            /// Nothing.
            #[codec(index = 0)]
            None,
            $(
                #[doc = concat!(stringify!($length), " bytes.")]
                #[codec(index = $index)]
                $raw([u8; $length]),
            )*
            /// A hash; only its holder knows of what.
            #[codec(index = 130)]
            BlakeTwo256([u8; 32]),
            /// A hash; only its holder knows of what.
            #[codec(index = 131)]
            Sha256([u8; 32]),
            /// A hash; only its holder knows of what.
            #[codec(index = 132)]
            Keccak256([u8; 32]),
            /// A hash; only its holder knows of what.
            #[codec(index = 133)]
            ShaThree256([u8; 32]),
            /// Encrypted to a round of the randomness beacon.
            #[codec(index = 134)]
            TimelockEncrypted {
                /// The ciphertext.
                encrypted: BoundedVec<u8, ConstU32<MAX_TIMELOCKED>>,
                /// The round that opens it.
                reveal_round: u64,
            },
            /// Asks for a new start of the validator's bonds.
            #[codec(index = 135)]
            ResetBondsFlag,
            /// More bytes than the variants by length hold.
            #[codec(index = 136)]
            BigRaw(BoundedVec<u8, ConstU32<MAX_BIG_RAW>>),
        }
    };
}

data! {
    Raw0(1 = 0) Raw1(2 = 1) Raw2(3 = 2) Raw3(4 = 3) Raw4(5 = 4) Raw5(6 = 5)
    Raw6(7 = 6) Raw7(8 = 7) Raw8(9 = 8) Raw9(10 = 9) Raw10(11 = 10) Raw11(12 = 11)
    Raw12(13 = 12) Raw13(14 = 13) Raw14(15 = 14) Raw15(16 = 15) Raw16(17 = 16) Raw17(18 = 17)
    Raw18(19 = 18) Raw19(20 = 19) Raw20(21 = 20) Raw21(22 = 21) Raw22(23 = 22) Raw23(24 = 23)
    Raw24(25 = 24) Raw25(26 = 25) Raw26(27 = 26) Raw27(28 = 27) Raw28(29 = 28) Raw29(30 = 29)
    Raw30(31 = 30) Raw31(32 = 31) Raw32(33 = 32) Raw33(34 = 33) Raw34(35 = 34) Raw35(36 = 35)
    Raw36(37 = 36) Raw37(38 = 37) Raw38(39 = 38) Raw39(40 = 39) Raw40(41 = 40) Raw41(42 = 41)
    Raw42(43 = 42) Raw43(44 = 43) Raw44(45 = 44) Raw45(46 = 45) Raw46(47 = 46) Raw47(48 = 47)
    Raw48(49 = 48) Raw49(50 = 49) Raw50(51 = 50) Raw51(52 = 51) Raw52(53 = 52) Raw53(54 = 53)
    Raw54(55 = 54) Raw55(56 = 55) Raw56(57 = 56) Raw57(58 = 57) Raw58(59 = 58) Raw59(60 = 59)
    Raw60(61 = 60) Raw61(62 = 61) Raw62(63 = 62) Raw63(64 = 63) Raw64(65 = 64) Raw65(66 = 65)
    Raw66(67 = 66) Raw67(68 = 67) Raw68(69 = 68) Raw69(70 = 69) Raw70(71 = 70) Raw71(72 = 71)
    Raw72(73 = 72) Raw73(74 = 73) Raw74(75 = 74) Raw75(76 = 75) Raw76(77 = 76) Raw77(78 = 77)
    Raw78(79 = 78) Raw79(80 = 79) Raw80(81 = 80) Raw81(82 = 81) Raw82(83 = 82) Raw83(84 = 83)
    Raw84(85 = 84) Raw85(86 = 85) Raw86(87 = 86) Raw87(88 = 87) Raw88(89 = 88) Raw89(90 = 89)
    Raw90(91 = 90) Raw91(92 = 91) Raw92(93 = 92) Raw93(94 = 93) Raw94(95 = 94) Raw95(96 = 95)
    Raw96(97 = 96) Raw97(98 = 97) Raw98(99 = 98) Raw99(100 = 99) Raw100(101 = 100) Raw101(102 = 101)
    Raw102(103 = 102) Raw103(104 = 103) Raw104(105 = 104) Raw105(106 = 105) Raw106(107 = 106) Raw107(108 = 107)
    Raw108(109 = 108) Raw109(110 = 109) Raw110(111 = 110) Raw111(112 = 111) Raw112(113 = 112) Raw113(114 = 113)
    Raw114(115 = 114) Raw115(116 = 115) Raw116(117 = 116) Raw117(118 = 117) Raw118(119 = 118) Raw119(120 = 119)
    Raw120(121 = 120) Raw121(122 = 121) Raw122(123 = 122) Raw123(124 = 123) Raw124(125 = 124) Raw125(126 = 125)
    Raw126(127 = 126) Raw127(128 = 127) Raw128(129 = 128)
}
